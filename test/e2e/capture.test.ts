/** capture: what is in the file by tshark and capinfos, how it ends, and that nothing is left. */
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { isAlive } from '../helpers/processes.ts';

let host: Host;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  dir = host.dir;
  expectCreated(host, 'a1', '--ip', '192.168.0.11');
  expectCreated(host, 'a2', '--ip', '192.168.0.12');
  host.run(['ip', '-n', 'a2', 'link', 'add', 'name', 'eth1', 'type', 'bridge']);
  host.run(['ip', '-n', 'a2', 'link', 'set', 'eth1', 'up']);
});
afterAll(() => host.destroy());

const file = (name: string) => join(dir, name);

function ping(count = 3): void {
  const words = ['ping', '-q', '-c', String(count), '-i', '0.05', '192.168.0.12'];
  expect(host.minict('exec', 'a1', ...words)).toMatchObject({ status: 0 });
}

/** Starts one, and waits until all its NICs are captured. */
async function started(...words: string[]) {
  const child = host.spawn([MINICT, 'capture', ...words]);
  const reader = (child.stderr as ReadableStream<Uint8Array>).getReader();
  let said = '';
  const read = async (until: RegExp | undefined) => {
    for (;;) {
      if (until?.test(said)) return said;
      const { done, value } = await reader.read();
      if (done) return said;
      said += new TextDecoder().decode(value);
    }
  };
  expect(await read(/\n/)).toMatch(/^minict: capturing /);
  return { child, rest: () => read(undefined) };
}

/** Lines of `interface protocol`, in the file's order. */
function packetsIn(path: string, filter = 'icmp'): string[] {
  const fields = ['-e', 'frame.interface_name', '-e', 'icmp.type', '-e', 'icmp.seq'];
  const { stdout } = host.run(['tshark', '-r', path, '-Y', filter, '-T', 'fields', ...fields]);
  return stdout.split('\n').filter(Boolean);
}

function info(path: string, option: string): string {
  return host.run(['capinfos', '-T', '-r', option, path]).stdout.trim().split('\t')[1] ?? '';
}

/** A process, and those that it started. */
function family(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  return [pid, ...children.flatMap(family)];
}

describe('into a file', () => {
  test('an interface for each NIC, in order of time; INT ends it with all packets', async () => {
    const path = file('all.pcapng');
    const { child, rest } = await started('a1:eth0', 'a2', '-w', path);
    const processes = family(child.pid);
    ping(20);
    child.kill('SIGINT');
    expect(await child.exited).toBe(0);
    expect(await rest()).toMatch(/^minict: capturing a1:eth0, a2:eth0, a2:eth1\nminict: \d+ packets\n$/);
    expect(info(path, '-o')).toBe('True');
    expect(host.run(['capinfos', '-I', path]).stdout.match(/Name = .*/g)).toEqual([
      'Name = a1:eth0',
      'Name = a2:eth0',
      'Name = a2:eth1',
    ]);
    const packets = packetsIn(path);
    expect(packets).toHaveLength(80);
    // Out at one end, in at the other one, and back.
    expect(packets.filter((_, at) => at < 4)).toEqual([
      'a1:eth0\t8\t0',
      'a2:eth0\t8\t0',
      'a2:eth0\t0\t0',
      'a1:eth0\t0\t0',
    ]);
    expect(processes.filter(isAlive)).toEqual([]);
  });

  test('TERM, -c and --duration end it, too', async () => {
    const { child } = await started('a1', '-w', file('term.pcapng'));
    ping(1);
    child.kill('SIGTERM');
    expect(await child.exited).toBe(0);
    expect(packetsIn(file('term.pcapng'))).toHaveLength(2);

    const counting = await started('a1', 'a2', '-c', '4', '--filter', 'icmp', '-w', file('count.pcapng'));
    ping();
    expect(await counting.child.exited).toBe(0);
    expect(packetsIn(file('count.pcapng'))).toHaveLength(4);
    expect(await counting.rest()).toMatch(/\nminict: 4 packets\n$/);

    const timed = host.minict('capture', 'a1:eth0', '--duration', '0.3', '-w', file('timed.pcapng'));
    expect(timed).toMatchObject({ status: 0, stdout: '' });
    expect(info(file('timed.pcapng'), '-t')).toContain('pcapng');
  });

  test('-s keeps that much of a packet', async () => {
    const { child } = await started('a1', '-s', '42', '-w', file('short.pcapng'));
    ping(1);
    child.kill('SIGINT');
    await child.exited;
    const lengths = ['-T', 'fields', '-e', 'frame.cap_len', '-e', 'frame.len'];
    expect(host.run(['tshark', '-r', file('short.pcapng'), '-Y', 'icmp', ...lengths]).stdout).toBe('42\t98\n42\t98\n');
  });

  test('a filter chooses; a symlink is followed', async () => {
    symlinkSync('real.pcapng', file('link.pcapng'));
    const { child } = await started('a1', 'a2', '-f', 'icmp[0] == 0', '-w', file('link.pcapng'));
    ping();
    child.kill('SIGINT');
    await child.exited;
    expect(packetsIn(file('real.pcapng'))).toHaveLength(6);
    expect(packetsIn(file('real.pcapng'), 'icmp.type == 8')).toEqual([]);
    expect(info(file('real.pcapng'), '-o')).toBe('True');
  });
});

test('to stdout, for wireshark: as it comes', async () => {
  const pipe = `"$0" capture a1 a2 -c 6 -f icmp -w - | tshark -r - -T fields -e frame.interface_name`;
  const child = host.spawn(['sh', '-c', pipe, MINICT]);
  const reader = (child.stderr as ReadableStream<Uint8Array>).getReader();
  let said = '';
  while (!said.includes('capturing')) said += new TextDecoder().decode((await reader.read()).value);
  ping();
  const names = (await new Response(child.stdout as ReadableStream).text()).split('\n').filter(Boolean);
  expect(names).toHaveLength(6);
  expect(new Set(names)).toEqual(new Set(['a1:eth0', 'a2:eth0']));
});

test('a reader that has had enough ends it', async () => {
  const child = host.spawn(['sh', '-c', '"$0" capture a1 -w - | head -c 10 >/dev/null', MINICT]);
  for (const _ of [1, 2, 3]) ping();
  expect(await child.exited).toBe(0);
});

test('a kill -9 of minict: its processes end by themselves, and the file is whole', async () => {
  const path = file('killed.pcapng');
  const { child } = await started('a1', 'a2', '-w', path);
  const processes = family(child.pid);
  expect(processes).toHaveLength(4);
  ping(10);
  expect(await eventually(() => packetsIn(path).length === 40)).toBe(true);
  child.kill('SIGKILL');
  await child.exited;
  expect(await eventually(() => !processes.some(isAlive))).toBe(true);
  expect(packetsIn(path)).toHaveLength(40);
  expect(info(path, '-o')).toBe('True');
});

test('a NIC that goes away is told of, and the others go on; rm does not wait', async () => {
  expectCreated(host, 'gone', '--ip', '192.168.0.13');
  const { child, rest } = await started('gone', 'a1', '-w', file('gone.pcapng'));
  expect(host.minict('rm', 'gone')).toMatchObject({ status: 0 });
  ping(2);
  child.kill('SIGINT');
  expect(await child.exited).toBe(0);
  expect(await rest()).toMatch(/^minict: gone:eth0 has ended: .*\n/m);
  expect(packetsIn(file('gone.pcapng'))).toHaveLength(4);
});

describe('bad input', () => {
  const to = ['-w', '/nonexistent/x.pcapng'];
  test.each([
    [['a1'], /cannot capture: required option '-w, --write <file>' not specified/],
    [['nope', ...to], /no such container\nhint: minict ps -a/],
    [['a1:eth7', ...to], /a1 has no interface eth7\nhint: it has lo, eth0\n/],
    [['a1:eth0123456789abc', ...to], /longer than 15 bytes/],
    [['a1', '-c', '0', ...to], /-c "0": no number from 1/],
    [['a1', '-s', '300000', ...to], /-s "300000": no number from 1 to 262144/],
    [['a1', '--duration', 'long', ...to], /--duration "long": no number of seconds/],
    [['a1', '--duration', '0', ...to], /no number of seconds/],
    [
      ['a1', '--filter', 'tcp porto 80', ...to],
      /--filter "tcp porto 80": can't parse filter expression: syntax error\nhint: /,
    ],
    [['a1', '--filter', '-x', ...to], /can't parse filter/],
    [['a1', '-w', ''], /-w '': no path/],
    [['a1', '-w', '/tmp'], /cannot write \/tmp: illegal operation on a directory\nhint: /],
  ])('%j is refused', (words, message) => {
    expectRefused(host.minict('capture', ...words), message);
  });

  test('a file that cannot be written, an interface that is down, one that is not there', () => {
    expectRefused(host.minict('capture', 'a1', ...to), /cannot write \/nonexistent\/x\.pcapng: .*no such file/);
    host.run(['ip', '-n', 'a2', 'link', 'set', 'eth1', 'down']);
    expectRefused(host.minict('capture', 'a2:eth1', ...to), /eth1 is down\nhint: ip -n a2 link set dev eth1 up/);
    expectCreated(host, 'alone', '--no-network');
    expectRefused(host.minict('capture', 'alone', ...to), /no interface but lo\nhint: alone:lo/);
  });

  test('a tool that is not installed, and not root', () => {
    const without = ['env', 'PATH=/nonexistent', MINICT, 'capture', 'a1', ...to];
    expectRefused(host.run(without), /cannot run tcpdump: not found in PATH\nhint: apt-get install tcpdump/);
    const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', MINICT, 'capture', 'a1', ...to];
    expectRefused(host.run(asNobody), /not root\nhint: sudo minict capture/);
  });
});
