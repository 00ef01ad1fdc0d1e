/** A network with an uplink: an interface of the host's is its port, and machines beyond it have addresses, too. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefusedThere } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { globalAddresses, readIp } from '../helpers/links.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  // With it the image is there.
  expectCreated(host, 'keep');
});
afterAll(() => host.destroy());

const ip = (...words: string[]) => readIp(host, ...words);
const network = (...words: string[]) => host.minict('network', ...words);
const pings = (from: string, to: string) => host.minict('exec', from, 'ping', '-c1', '-W5', to).status === 0;

test('an uplink is a port until the network goes, and as it was afterwards', async () => {
  for (const words of [
    'netns add world',
    'link add name up0 type veth peer name far0 netns world',
    '-n world link set far0 up',
    '-n world addr add 10.7.0.2/24 dev far0',
  ]) {
    expect(host.run(['ip', ...words.split(' ')]).status).toBe(0);
  }
  expect(network('create', 'wan', '--uplink', 'up0', '--subnet', '10.7.0.0/24').status).toBe(0);
  expect(ip('link', 'show', 'dev', 'up0')[0]).toMatchObject({ master: 'wan', flags: expect.arrayContaining(['UP']) });
  // Who is out there has the first address that is free here.
  const mac = ip('-n', 'world', 'link', 'show', 'dev', 'far0')[0]?.address;
  await expectRefusedThere(
    host,
    ['create', 'x', '--network', 'wan', '--ip', '10.7.0.2'],
    new RegExp(`address 10.7.0.2: taken by the machine with ${mac}`),
  );
  expectCreated(host, 'w', '--network', 'wan');
  expect(globalAddresses(host, 'w', 'eth0')).toEqual(['10.7.0.3/24']);
  expect(pings('w', '10.7.0.2')).toBe(true);
  expect(host.minict('rm', 'w').status).toBe(0);
  expect(network('rm', 'wan').status).toBe(0);
  const [up] = ip('link', 'show', 'dev', 'up0');
  expect(up?.master).toBeUndefined();
  expect(up?.flags).not.toContain('UP');
  expect(host.run(['ip', 'netns', 'del', 'world']).status).toBe(0);
  expect(await host.linksGone(/ up0@/)).toBe(true);
});

test('the MTU is what the uplink takes, for the bridge and for all', async () => {
  for (const words of ['link add name up2 mtu 1400 type veth peer name far2', 'link set up2 up']) {
    expect(host.run(['ip', ...words.split(' ')]).status).toBe(0);
  }
  const create = ['network', 'create', 'narrow', '--uplink', 'up2', '--subnet', '10.6.0.0/24'];
  const mtuOf = (...words: string[]) => (ip(...words)[0] as unknown as { mtu: number } | undefined)?.mtu;
  await expectRefusedThere(host, [...create, '--mtu', '1500'], /MTU 1500: up2 has 1400\nhint: /);
  expect(host.minict(...create).status).toBe(0);
  expectCreated(host, 'n', '--network', 'narrow', '--ip', '10.6.0.2');
  expect(mtuOf('-n', 'n', 'link', 'show', 'dev', 'eth0')).toBe(1400);
  await expectRefusedThere(host, ['create', 'x', '--nic', 'narrow,mtu=1500'], /MTU 1500: network narrow has 1400/);
  expect(host.run(['ip', 'link', 'set', 'up2', 'down']).status).toBe(0);
  expect(network('ls').stdout).toMatch(/narrow .* broken \(missing: uplink up2 up\)/);
  expect(network('reload').stdout).toMatch(/uplink up/);
  expect(ip('link', 'show', 'dev', 'up2')[0]?.flags).toContain('UP');
  expect(host.minict('rm', 'n').status).toBe(0);
  expect(network('rm', 'narrow').status).toBe(0);
  expect(host.minict(...create, '--mtu', '1300').status).toBe(0);
  expect([mtuOf('link', 'show', 'dev', 'narrow'), mtuOf('link', 'show', 'dev', 'up2')]).toEqual([1300, 1400]);
  expect(network('rm', 'narrow').status).toBe(0);
});

test('an interface with children is no uplink: they and a bridge cannot both have what comes in', async () => {
  const ok = (line: string) => expect(host.run(['ip', ...line.split(' ')]), line).toMatchObject({ status: 0 });
  const create = ['network', 'create', 'wan', '--uplink', 'up2'];
  ok('link add link up2 name child0 type macvlan');
  await expectRefusedThere(host, create, /up2: the host's child0 is on it\nhint: ip link del dev child0\n/);
  ok('link del child0');
  expect(network('create', 'm0', '--driver', 'macvlan', '--uplink', 'up2', '--subnet', '10.5.0.0/24').status).toBe(0);
  await expectRefusedThere(host, create, /up2: network m0 has it\nhint: minict network rm m0\n/);
  await expectRefusedThere(host, ['create', 'x', '--nic', 'phys:up2'], /up2: network m0 has it/);
  await expectRefusedThere(host, ['create', 'x', '--nic', 'm0,mtu=9000'], /MTU 9000: network m0 has 1400/);
  expect(network('rm', 'm0').status).toBe(0);
  ok('link del up2');
});

test("nor is an address that a machine beyond a bridge of the host's has given out", async () => {
  for (const words of [
    'link add name br5 type bridge',
    'link add name port5 type veth peer name far5',
    'link set br5 up',
    'link set port5 master br5 up',
    'addr add 10.4.0.1/24 dev far5',
    'link set far5 up',
  ]) {
    expect(host.run(['ip', ...words.split(' ')]).status).toBe(0);
  }
  expect(network('create', 'theirs', '--bridge', 'br5', '--subnet', '10.4.0.0/24').status).toBe(0);
  const mac = ip('link', 'show', 'dev', 'far5')[0]?.address;
  await expectRefusedThere(
    host,
    ['create', 'x', '--network', 'theirs', '--ip', '10.4.0.1'],
    new RegExp(`address 10.4.0.1: taken by the machine with ${mac}`),
  );
  expect(network('rm', 'theirs').status).toBe(0);
  for (const link of ['far5', 'br5']) expect(host.run(['ip', 'link', 'del', link]).status).toBe(0);
});

/** A Neighbour Solicitation from nobody: of who is about to take the address fd00:8::3. */
const PROBES = `import socket,time
target = bytes.fromhex('fd000008000000000000000000000003')
group = bytes.fromhex('ff0200000000000000000001ff000003')
message = bytes([135, 0, 0, 0, 0, 0, 0, 0]) + target
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
while True:
    packet = bytes([0x60, 0, 0, 0, 0, 24, 58, 255]) + bytes(16) + group + message
    s.sendto(packet, ('far1', 0x86dd, 0, 0, bytes.fromhex('3333ff000003')))
    print('sent', flush=True)
    time.sleep(0.1)`;

test('an IPv6 address that a machine beyond the uplink has, or is about to take, is not given out', async () => {
  for (const words of [
    'netns add world',
    'link add name up1 type veth peer name far1 netns world',
    '-n world link set far1 up',
    '-n world addr add fd00:8::2/64 nodad dev far1',
  ]) {
    expect(host.run(['ip', ...words.split(' ')]).status).toBe(0);
  }
  const uplink = ['--uplink', 'up1', '--subnet', '10.8.0.0/24', '--subnet', 'fd00:8::/64'];
  expect(network('create', 'wan6', ...uplink)).toMatchObject({ status: 0, stderr: '' });
  const mac = ip('-n', 'world', 'link', 'show', 'dev', 'far1')[0]?.address;
  await expectRefusedThere(
    host,
    ['create', 'x', '--network', 'wan6', '--ip', 'fd00:8::2'],
    new RegExp(`address fd00:8::2: taken by the machine with ${mac}`),
  );
  // Who was asked has learnt nothing of who asked.
  expect(host.run(['ip', '-n', 'world', 'neigh', 'show', 'dev', 'far1']).stdout).toBe('');
  const prober = host.spawn(['ip', 'netns', 'exec', 'world', 'python3', '-uc', PROBES]);
  await (prober.stdout as ReadableStream).getReader().read();
  try {
    expectCreated(host, 'w6', '--network', 'wan6');
  } finally {
    prober.kill();
    await prober.exited;
  }
  expect(globalAddresses(host, 'w6', 'eth0')).toEqual(['10.8.0.2/24', 'fd00:8::4/64']);
  expect(pings('w6', 'fd00:8::2')).toBe(true);
  expect(host.minict('rm', 'w6').status).toBe(0);
  expect(network('rm', 'wan6').status).toBe(0);
  expect(host.run(['ip', 'netns', 'del', 'world']).status).toBe(0);
});
