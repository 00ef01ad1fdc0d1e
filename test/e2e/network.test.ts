/** The default network: what a NIC gets by options, what is refused, who holds which address. Read from the kernel. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectCreated, expectRefused, expectRefusedThere } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { eth0Of, readIp } from '../helpers/links.ts';

let host: Host;
const ip = (...words: string[]) => readIp(host, ...words);
const inside = (name: string) => eth0Of(host, name);
const addressOf = (name: string) => inside(name).addr_info[0]?.local;
const create = (...words: string[]) => expectCreated(host, ...words);
const refused = (words: string[], message: RegExp) => expectRefusedThere(host, ['create', ...words], message);

describe('on the default network', () => {
  beforeAll(async () => {
    host = await Host.create();
    create('first');
  });
  afterAll(() => host.destroy());

  test('the bridge is the gateway; addresses are the next free ones', () => {
    const bridge = ip('addr', 'show', 'dev', 'minict0')[0];
    expect(bridge?.addr_info.find((a) => a.family === 'inet')).toMatchObject({ local: '192.168.0.1', prefixlen: 24 });
    expect(addressOf('first')).toBe('192.168.0.2');
    create('third', '--ip', '192.168.0.3/24');
    create('fourth');
    expect(addressOf('third')).toBe('192.168.0.3');
    expect(addressOf('fourth')).toBe('192.168.0.4');
    expect(inside('third').addr_info).toEqual([expect.objectContaining({ prefixlen: 24, broadcast: '192.168.0.255' })]);
    expect(ip('-n', 'third', 'route', 'show', 'default')).toMatchObject([{ gateway: '192.168.0.1', dev: 'eth0' }]);
    expect(ip('-n', 'third', 'link', 'show', 'dev', 'lo')[0]?.flags).toContain('UP');
    host.minict('rm', 'third');
    create('third');
    expect(addressOf('third')).toBe('192.168.0.3');
    host.minict('rm', 'third', 'fourth');
  });

  test('gateway, MAC address, MTU of both ends, host name', () => {
    const mac = '02:ab:cd:ef:00:01';
    create(
      'opt',
      '--gateway',
      '192.168.0.77',
      '--mac-address',
      mac.toUpperCase(),
      '--mtu',
      '1400',
      '--hostname',
      'o.lab',
    );
    expect(inside('opt')).toMatchObject({ address: mac, mtu: 1400, operstate: 'UP' });
    expect(ip('link', 'show', 'dev', 'opt-eth0')[0]).toMatchObject({ mtu: 1400, master: 'minict0', operstate: 'UP' });
    expect(ip('-n', 'opt', 'route', 'show', 'default')).toMatchObject([{ gateway: '192.168.0.77' }]);
    const seen = host.minict('exec', 'opt', 'sh', '-c', 'hostname; cat /etc/hostname; grep opt /etc/hosts').stdout;
    expect(seen).toBe(`o.lab\no.lab\n${addressOf('opt')}\to.lab opt\n`);
    expect(host.minict('exec', 'first', 'ping', '-c1', '-W2', 'o.lab').status).toBe(0);
    host.minict('rm', 'opt');
  });

  test.each([68, 1279, 1280, 9000])('a NIC of MTU %i reaches its neighbours', (mtu) => {
    create('mtu', '--mtu', String(mtu));
    expect(inside('mtu').mtu).toBe(mtu);
    expect(inside('mtu').addr_info.map((address) => address.family)).toEqual(['inet']);
    expect(host.minict('exec', 'mtu', 'ping', '-c1', '-W2', '-s8', 'first').status).toBe(0);
    host.minict('rm', 'mtu');
  });

  test('--no-network leaves a loopback, and a hosts file for it', () => {
    create('alone', '--no-network');
    expect(ip('-n', 'alone', 'link').map((link) => link.ifname)).toEqual(['lo']);
    const hosts = host.minict('exec', 'alone', 'cat', '/etc/hosts').stdout;
    expect(hosts).toMatch(/^127\.0\.0\.1\tlocalhost$/m);
    expect(hosts).toMatch(/\talone$/m);
    expect(host.minict('exec', 'alone', 'ping', '-c1', '-W2', 'alone').status).toBe(0);
    expect(host.minict('exec', 'first', 'cat', '/etc/hosts').stdout).not.toContain('alone');
    host.minict('rm', 'alone');
  });

  test('every member has all names, those that were up before too', () => {
    const names = (member: string) =>
      host
        .minict('exec', member, 'cat', '/etc/hosts')
        .stdout.split('\n')
        .flatMap((line) => /^192\S+\t(.+)$/.exec(line)?.[1] ?? []);
    create('late', '--mounts', 'host');
    expect(names('first')).toEqual(['first', 'late']);
    expect(names('late')).toEqual(['first', 'late']);
    host.minict('rm', 'late');
    expect(names('first')).toEqual(['first']);
  });

  test('an address is its container’s over stop and start, and free after rm', async () => {
    create('keeps', '--ip', '192.168.0.50');
    const { address } = inside('keeps');
    host.minict('stop', 'keeps');
    expect(ip('link', 'show', 'dev', 'keeps-eth0')[0]?.operstate).toBe('DOWN');
    await refused(['thief', '--ip', '192.168.0.50'], /taken by container keeps/);
    host.minict('start', 'keeps');
    expect(inside('keeps')).toMatchObject({ address, addr_info: [{ local: '192.168.0.50' }] });
    host.minict('rm', 'keeps');
    create('heir', '--ip', '192.168.0.50');
    host.minict('rm', 'heir');
  });

  test('so is a MAC address: nobody else in the network can have it, wherever it comes from', async () => {
    const mac = () => inside('keeps').address;
    create('keeps', '--mac-address', '02:00:00:00:0C:01');
    const taken = /cannot use MAC address 02:00:00:00:0c:01: taken by container keeps, eth0\nhint: /;
    await refused(['thief', '--mac-address', '02:00:00:00:0c:01'], taken);
    expect(host.minict('network', 'create', 'other').status).toBe(0);
    host.minict('stop', 'keeps');
    create('thief', '--network', 'other', '--mac-address', '02:00:00:00:0c:01');
    expectRefused(host.minict('network', 'connect', 'minict0', 'thief', '--mac-address', '02:00:00:00:0c:01'), taken);
    host.minict('rm', 'keeps');
    create('keeps');
    const own = mac();
    host.minict('rm', 'keeps');
    // What minict would choose for an address may be somebody's by then.
    create('heir', '--ip', '192.168.0.90', '--mac-address', own);
    create('keeps');
    expect(mac()).not.toBe(own);
    expect(host.minict('rm', 'heir', 'keeps', 'thief').status).toBe(0);
    expect(host.minict('network', 'rm', 'other').status).toBe(0);
  });

  test.each([
    ['a process of the host', ['ip', 'netns', 'exec', 'watched', 'sh', '-c'], 'ns/net'],
    ['a descriptor', ['sh', '-c', 'exec 9</run/netns/watched; eval "$0"'], 'fd/9'],
  ])('an address that is free again is nowhere, even where %s keeps the namespace', async (_, words, namespace) => {
    create('watched', '--ip', '192.168.0.51');
    const watcher = host.spawn([...words, 'echo ready; exec sleep 1000']);
    try {
      await (watcher.stdout as ReadableStream<Uint8Array>).getReader().read();
      expect(host.minict('rm', 'watched')).toEqual({ status: 0, stdout: 'watched\n', stderr: '' });
      const links = host.run(['nsenter', `--net=/proc/${watcher.pid}/${namespace}`, 'ip', '-o', 'link']).stdout;
      expect(links).toMatch(/^1: lo: [^\n]*\n$/);
      expect(watcher.exitCode).toBe(null);
    } finally {
      watcher.kill();
      await watcher.exited;
    }
  });

  test('who talked to an address before reaches the next container that has it', () => {
    for (const name of ['one', 'two']) {
      create(name, '--ip', '192.168.0.60');
      expect(host.minict('exec', 'first', 'ping', '-c1', '-W2', '192.168.0.60').status).toBe(0);
      expect(host.minict('exec', name, 'sh', '-c', 'httpd -h /var/www').status).toBe(0);
      expect(host.run(['curl', '-sS', '-m', '5', 'http://192.168.0.60/']).stdout).toBe('minict\n');
      host.minict('rm', '-f', name);
    }
  });

  test.each([
    [['--ip', '192.168.0.9/25'], /network minict0 is 192\.168\.0\.0\/24/],
    [['--ip', '192.168.0.9/31'], /prefix length must be 8 to 30/],
    [['--ip', '192.168.0.9/'], /prefix length/],
    [['--ip', '192.168.0.09'], /not an IPv4 address/],
    [['--ip', '192.168.9'], /not an IPv4 address/],
    [['--ip', 'fd00::1'], /outside network minict0, 192\.168\.0\.0\/24/],
    [['--ip', 'fd00::1::2'], /not an IPv6 address/],
    [['--ip', '192.168.0.5', '--ip', '192.168.0.6'], /a second address of its family/],
    [['--ip', '192.168.0.0'], /network's own or its broadcast/],
    [['--ip', '192.168.0.255'], /network's own or its broadcast/],
    [['--ip', '192.168.0.1'], /taken by the bridge minict0/],
    [['--ip', '192.168.0.2'], /taken by container first/],
    [['--ip', '10.0.0.5'], /outside network minict0, 192\.168\.0\.0\/24\nhint: /],
    [['--gateway', '10.0.0.1'], /gateway 10\.0\.0\.1: outside network/],
    [['--gateway', '192.168.0.255'], /gateway 192\.168\.0\.255: .*broadcast/],
    [['--gateway', '192.168.0.9', '--ip', '192.168.0.9'], /own address/],
    [['--gateway', 'host'], /not an IPv4 address/],
    [['--mac-address', '01:00:5e:00:00:01'], /not a unicast MAC address/],
    [['--mac-address', '00:00:00:00:00:00'], /not a unicast MAC address/],
    [['--mac-address', '02:00:00:00:00'], /not a unicast MAC address/],
    [
      ['--nic', 'minict0,mac=02:00:00:00:0d:01', '--nic', 'minict0,mac=02:00:00:00:0d:01'],
      /address 02:00:00:00:0d:01: taken by bad's eth0/,
    ],
    [['--mtu', '67'], /68 to 65535/],
    [['--mtu', '65536'], /68 to 65535/],
    [['--mtu', '1500.5'], /68 to 65535/],
    [['--mtu', 'big'], /68 to 65535/],
    [['--hostname', 'a b'], /not a host name/],
    [['--hostname', 'a\n127.0.0.1 b'], /not a host name/],
    [['--hostname', 'x'.repeat(64)], /not a host name/],
    [['--no-network', '--ip', '192.168.0.9'], /--ip and --no-network together/],
    [['--no-network', '--mtu', '1400'], /--mtu and --no-network together/],
  ])('%j is refused', async (options, message) => {
    await refused(['bad', ...options], message);
  });

  test('it holds 253 containers; the next one is refused', async () => {
    const path = join(host.root, 'networks/minict0.json');
    const record = JSON.parse(readFileSync(path, 'utf8'));
    // All but the last address, held by containers that are records alone.
    const others = Array.from({ length: 251 }, (_, i) => [`192.168.0.${i + 3}`, `held${i}`] as const);
    for (const [, name] of others) {
      mkdirSync(join(host.root, 'containers', name));
      writeFileSync(join(host.root, 'containers', name, 'container.json'), '{}');
    }
    const held = Object.fromEntries(
      others.map(([address, name]) => [name, { hostname: name, nics: { eth0: [address] } }]),
    );
    writeFileSync(path, JSON.stringify({ ...record, members: { ...record.members, ...held } }));
    create('last');
    expect(addressOf('last')).toBe('192.168.0.254');
    await refused(['toomany'], /network minict0, 192\.168\.0\.0\/24, is full/);
    for (const [, name] of others) rmSync(join(host.root, 'containers', name), { recursive: true });
    create('again');
    expect(addressOf('again')).toBe('192.168.0.3');
    host.minict('rm', 'last', 'again');
  });
});
