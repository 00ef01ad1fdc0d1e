/** Multipath TCP between two containers with two networks each: both paths are used, and one is enough. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefusedThere } from '../helpers/expect.ts';
import { eventually, Host } from '../helpers/host.ts';

const SERVER = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('0.0.0.0', 7000)); s.listen(1); print('listening', flush=True)
c, _ = s.accept(); total = 0
while True:
    data = c.recv(65536)
    if not data: break
    total += len(data)
print(total)
`;
/** A first part; the rest when it is told to. */
const CLIENT = `
import os, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
s.connect((sys.argv[1], 7000)); s.sendall(b'x' * 1000000)
while not os.path.exists(sys.argv[2]): time.sleep(0.02)
s.sendall(b'y' * 8000000); s.close()
`;

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  for (const [n, lan] of ['lana', 'lanb'].entries()) {
    expect(host.minict('network', 'create', lan, '--subnet', `192.168.${n}.0/24`).status).toBe(0);
  }
});
afterAll(() => host.destroy());

const endpoints = (name: string) =>
  host.run(['ip', '-n', name, 'mptcp', 'endpoint', 'show']).stdout.trim().split('\n').sort();
const subflows = (name: string) =>
  host
    .run(['ip', 'netns', 'exec', name, 'ss', '-tnH', 'state', 'established'])
    .stdout.trim()
    .split('\n')
    .filter(Boolean);

function expectPaths(name: string, last: number): void {
  expect(host.run(['ip', '-n', name, 'mptcp', 'limits']).stdout).toContain('add_addr_accepted 8 subflows 8');
  expect(endpoints(name)).toEqual([
    expect.stringMatching(new RegExp(`^192\\.168\\.0\\.${last} id \\d+ signal subflow dev eth0`)),
    expect.stringMatching(new RegExp(`^192\\.168\\.1\\.${last} id \\d+ signal subflow dev eth1`)),
  ]);
}

async function restOf(output: { read(): Promise<{ done: boolean; value?: Uint8Array | undefined }> }): Promise<string> {
  let text = '';
  for (let piece = await output.read(); !piece.done; piece = await output.read()) {
    text += new TextDecoder().decode(piece.value);
  }
  return text.trim();
}

async function transfer(cut: string): Promise<void> {
  const go = join(host.dir, `go-${cut}`);
  const server = host.spawn(['ip', 'netns', 'exec', 'm2', 'python3', '-c', SERVER]);
  const output = (server.stdout as ReadableStream<Uint8Array>).getReader();
  await output.read();
  const client = host.spawn(['ip', 'netns', 'exec', 'm1', 'python3', '-c', CLIENT, '192.168.0.3', go]);
  const isPath = (n: number) => subflows('m1').some((line) => line.includes(` 192.168.${n}.3:7000`));
  expect(await eventually(() => isPath(0) && isPath(1))).toBe(true);
  const [meta] = host.run(['ip', 'netns', 'exec', 'm1', 'ss', '-MniH', 'state', 'established']).stdout.split('\n');
  expect(meta).toMatch(/192\.168\.0\.2:\d+ +192\.168\.0\.3:7000/);
  const counters = host.run(['ip', 'netns', 'exec', 'm1', 'nstat', '-asz', 'MPTcpExtMPJoinSynAckRx']).stdout;
  expect(Number(/MPTcpExtMPJoinSynAckRx +(\d+)/.exec(counters)?.[1])).toBeGreaterThan(0);
  expect(host.minict('link', 'down', `m1:${cut}`).status).toBe(0);
  writeFileSync(go, '');
  expect(await client.exited).toBe(0);
  expect(await restOf(output)).toBe('9000000');
  expect(await server.exited).toBe(0);
  expect(host.minict('link', 'up', `m1:${cut}`).status).toBe(0);
}

test('a transfer over two networks goes on when one of them is cut, whichever', async () => {
  for (const name of ['m1', 'm2']) {
    expectCreated(host, name, '--nic', 'lana', '--nic', 'lanb', '--mptcp');
  }
  expectPaths('m1', 2);
  await transfer('eth0');
  await transfer('eth1');
});

test('the paths are there again after stop and start, and with an interface that was removed by hand', () => {
  expect(host.minict('stop', '-t', '0', 'm1').status).toBe(0);
  expect(host.minict('start', 'm1').status).toBe(0);
  expectPaths('m1', 2);
  expect(host.run(['ip', '-n', 'm1', 'link', 'del', 'eth1']).status).toBe(0);
  expect(host.minict('start', 'm1')).toMatchObject({ status: 0, stderr: '' });
  expectPaths('m1', 2);
});

test('after a reboot', async () => {
  await host.reboot();
  expect(host.minict('start', 'm1', 'm2').status).toBe(0);
  expectPaths('m1', 2);
  expectPaths('m2', 3);
});

test('a path goes with its interface, or the other side would be told of an address that another may have by then', () => {
  expect(host.minict('network', 'disconnect', 'lana', 'm2')).toMatchObject({ status: 0, stderr: '' });
  expect(endpoints('m2')).toEqual([expect.stringMatching(/^192\.168\.1\.3 /)]);
  expect(host.minict('network', 'connect', 'lana', 'm2', '--name', 'eth0').status).toBe(0);
  expectPaths('m2', 3);
});

test('one interface is refused', async () => {
  await expectRefusedThere(host, ['create', 'bad', '--mptcp', '--nic', 'lana'], /fewer than two interfaces/);
  await expectRefusedThere(host, ['create', 'bad', '--mptcp', '--no-network'], /fewer than two interfaces/);
});
