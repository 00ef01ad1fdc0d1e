/** Published ports as users ask for them: syntax, conflicts, `minict port`, and what becomes of them in a container's life. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefused, expectRefusedThere } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { page } from '../helpers/neighbour.ts';
import type { Snapshot } from '../helpers/snapshot.ts';

let host: Host;
let before: Snapshot;
const create = (...words: string[]) => host.minict('create', ...words);
const refused = (words: string[], message: RegExp) => expectRefusedThere(host, words, message);
const portsOf = (name: string) => host.minict('port', name).stdout.trim().split('\n').filter(Boolean);
const here = (argv: readonly string[]) => host.run(argv);
const serves = (name: string) => {
  expect(host.minict('exec', '-d', name, 'httpd', '-f', '-p', '80', '-h', '/etc').status).toBe(0);
};
const answers = (port: number) => page(here, `http://127.0.0.1:${port}/hostname`);
const switchOf = (name: string) => here(['cat', `/proc/sys/net/ipv4/conf/minict0/${name}`]).stdout.trim();

beforeAll(async () => {
  host = await Host.create();
  create('first');
  host.minict('network', 'create', 'six', '--subnet', 'fd00:6::/64');
  host.minict('network', 'create', 'inner', '--internal');
  host.minict('network', 'create', 'hostless', '--subnet', '10.9.0.0/24', '--gateway', 'none');
  before = host.snapshot();
});
afterAll(() => host.destroy());

test.each<[string[], string[]]>([
  [['8080:80'], ['80/tcp -> 127.0.0.1:8080']],
  [['80'], ['80/tcp -> 127.0.0.1:32768']],
  [
    ['0:80', ':81'],
    ['80/tcp -> 127.0.0.1:32768', '81/tcp -> 127.0.0.1:32769'],
  ],
  [
    ['0.0.0.0:8080:80/tcp', '0.0.0.0:8080:53/udp'],
    ['80/tcp -> 0.0.0.0:8080', '53/udp -> 0.0.0.0:8080'],
  ],
  [['127.0.0.2::80'], ['80/tcp -> 127.0.0.2:32768']],
  [['8000-8002:80-82'], ['80/tcp -> 127.0.0.1:8000', '81/tcp -> 127.0.0.1:8001', '82/tcp -> 127.0.0.1:8002']],
  [
    ['8000-8001:80', '8000-8001:81'],
    ['80/tcp -> 127.0.0.1:8000', '81/tcp -> 127.0.0.1:8001'],
  ],
  [['80-81'], ['80/tcp -> 127.0.0.1:32768', '81/tcp -> 127.0.0.1:32769']],
  [
    ['81', '32768:80'],
    ['80/tcp -> 127.0.0.1:32768', '81/tcp -> 127.0.0.1:32769'],
  ],
])('-p %j', (wanted, ports) => {
  const made = create('p1', ...wanted.flatMap((text) => ['-p', text]));
  const bound = (line: string) => `minict: p1 has ${line.replace(/(.*) -> (.*)/, '$2->$1')}\n`;
  expect(made).toEqual({ status: 0, stdout: 'p1\n', stderr: ports.map(bound).join('') });
  expect(portsOf('p1')).toEqual(ports);
  expect(host.minict('rm', 'p1').status).toBe(0);
  expect(host.snapshot().firewall).toEqual(before.firewall);
});

test('IPv6 leads to an IPv6 address', () => {
  expect(create('s1', '--network', 'six', '-p', '[::]:8080:80')).toMatchObject({ status: 0 });
  expect(portsOf('s1')).toEqual(['80/tcp -> [::]:8080']);
  expect(host.minict('rm', 's1').status).toBe(0);
});

test.each<[string[], RegExp]>([
  [['-p', 'x'], /'x' is no port from 1 to 65535/],
  [['-p', '8080:'], /is no port/],
  [['-p', '70000:80'], /is no port/],
  [['-p', '81-80'], /is no port/],
  [['-p', '80/sctp'], /tcp or udp/],
  [['-p', '1:2:3:4'], /not the form of a published port/],
  [['-p', 'localhost:80:80'], /not an IPv4 address/],
  [['-p', '::1:80:80'], /not the form/],
  [['-p', '[::1]:80:80'], /nothing leads from ::1 into a container\nhint: take 127.0.0.1/],
  [['-p', '[::]:80'], /not the form/],
  [['-p', '8000-8002:80-81'], /of different lengths/],
  [['-p', '1-2000'], /more than 1024 ports/],
  [['-p', '192.0.2.77:80:80'], /the host has no such address/],
  [['-p', '[::]:8080:80'], /it has no IPv6 address in a network that leads there from the host/],
  [['-p', '8080:80', '--network', 'inner'], /it has no IPv4 address in a network/],
  [['-p', '8080:80', '--network', 'six'], /it has no IPv4 address in a network/],
  [['-p', '8080:80', '--network', 'hostless'], /it has no IPv4 address in a network that leads there from the host/],
  [['-p', '8080:80', '--no-network'], /-p and --no-network together/],
  [['-p', '8080:80', '-p', '8080:81'], /taken by 127.0.0.1:8080 of container bad/],
  [['-p', '0.0.0.0:8080:80', '-p', '8080:81'], /taken by 0.0.0.0:8080 of container bad/],
])('create %j is refused, and leaves nothing', async (words, message) => {
  await refused(['create', 'bad', ...words], message);
});

test('what is refused after its ports were chosen leaves nothing of them', async () => {
  const foreign = ['ip', 'link', 'add', 'name', 'x1-eth0', 'type', 'bridge'];
  expect(host.run(foreign).status).toBe(0);
  await refused(['create', 'x1', '-p', '0.0.0.0:8080:80'], /an interface x1-eth0 is there already/);
  expect(host.run(['ip', 'link', 'del', 'x1-eth0']).status).toBe(0);
  expect(host.snapshot().firewall).toEqual(before.firewall);
});

test('a port has one holder, up or stopped', async () => {
  expect(create('h1', '-p', '8080:80', '-p', '0.0.0.0:9000-9001:80').status).toBe(0);
  const hint = /hint: minict port h1; -p PORT alone takes one that is free/;
  for (const port of ['8080', '0.0.0.0:8080', '127.0.0.1:9000', '9000']) {
    await refused(
      ['create', 'h2', '-p', `${port}:80`],
      /: taken by (127\.0\.0\.1:8080|0\.0\.0\.0:9000) of container h1/,
    );
    await refused(['create', 'h2', '-p', `${port}:80`], hint);
  }
  expect(host.minict('stop', '-t', '0', 'h1').status).toBe(0);
  await refused(['create', 'h2', '-p', '8080:80'], /taken by 127\.0\.0\.1:8080 of container h1/);
  // Another protocol, and another address, are others'.
  expect(create('h2', '-p', '8080:80/udp', '-p', '127.0.0.2:8080:80').status).toBe(0);
  expect(host.minict('rm', 'h1', 'h2').status).toBe(0);
});

test("a program of the host keeps its port, and a container's start says so", async () => {
  const listen = async (address: string) => {
    const server = host.spawn(['busybox', 'httpd', '-f', '-p', address, '-h', '/etc']);
    expect(await eventually(() => page(here, `http://${address}/hostname`) !== 'curl: 7')).toBe(true);
    return server;
  };
  const server = await listen('127.0.0.1:7000');
  const message = /a program of the host listens there\nhint: ss -tlnp 'sport = :7000'/;
  await refused(['create', 'u1', '-p', '7000:80'], message);
  await refused(['create', 'u1', '-p', '0.0.0.0:7000:80'], message);
  expect(create('u1', '-p', '7000-7001:80').stderr).toContain('127.0.0.1:7001->80/tcp');
  host.minict('stop', '-t', '0', 'u1');
  const late = await listen('127.0.0.1:7001');
  expectRefused(host.minict('start', 'u1'), /cannot publish 127\.0\.0\.1:7001\/tcp: a program of the host/);
  for (const each of [server, late]) {
    each.kill();
    await each.exited;
  }
  expect(host.minict('start', 'u1').status).toBe(0);
  expect(host.minict('rm', 'u1').status).toBe(0);
});

test('ports go with a stop, and come back with a start and after a reboot', async () => {
  expect(create('l1', '-p', '8080:80').status).toBe(0);
  serves('l1');
  expect(await eventually(() => answers(8080) === 'l1')).toBe(true);
  expect(host.minict('stop', '-t', '0', 'l1').status).toBe(0);
  expect(answers(8080)).toBe('curl: 7');
  expect(host.minict('ps', '-a').stdout).toMatch(/l1 +stopped .*127\.0\.0\.1:8080->80\/tcp/);
  expect(host.minict('start', 'l1').status).toBe(0);
  serves('l1');
  expect(await eventually(() => answers(8080) === 'l1')).toBe(true);
  expect(JSON.parse(host.minict('inspect', 'l1').stdout)[0].ports).toEqual([
    { ip: '127.0.0.1', port: 8080, protocol: 'tcp', address: expect.stringMatching(/^192\.168/), to: 80 },
  ]);
  await host.reboot();
  expect(answers(8080)).toBe('curl: 7');
  expect(host.minict('start', 'first', 'l1').status).toBe(0);
  serves('l1');
  expect(await eventually(() => answers(8080) === 'l1')).toBe(true);
  expect(host.minict('rm', '-f', 'l1').status).toBe(0);
  // Who served in it lets go of its namespace a little later.
  expect(await host.linksGone(/l1-eth0/)).toBe(true);
  before = host.snapshot();
});

test('minict port', async () => {
  create('m1', '-p', '8080:80', '-p', '9090:80', '-p', '5353:53/udp');
  expect(host.minict('port', 'm1', '80').stdout).toBe('127.0.0.1:8080\n127.0.0.1:9090\n');
  expect(host.minict('port', 'm1', '53/udp').stdout).toBe('127.0.0.1:5353\n');
  await refused(['port', 'm1', '53'], /cannot find port 53\/tcp of m1: not published/);
  await refused(['port', 'm1', 'http'], /'http' is no port/);
  await refused(['port', 'nobody'], /no such container/);
  await refused(['network', 'disconnect', 'minict0', 'm1'], /eth0 has its published ports/);
  expect(host.minict('port', 'first')).toEqual({ status: 0, stdout: '', stderr: '' });
  host.minict('rm', 'm1');
});

test('a clone has ports of its own, or those asked for', () => {
  create('o1', '-p', '0.0.0.0:8080:80');
  const clone = host.minict('clone', 'o1', 'o2');
  expect(clone).toEqual({ status: 0, stdout: 'o2\n', stderr: 'minict: o2 has 0.0.0.0:32768->80/tcp\n' });
  expect(host.minict('clone', 'o1', 'o3', '-p', '8083:83').stderr).toBe('minict: o3 has 127.0.0.1:8083->83/tcp\n');
  expect(portsOf('o3')).toEqual(['83/tcp -> 127.0.0.1:8083']);
  host.minict('rm', 'o1', 'o2', 'o3');
});

test('a saved container has its ports where they are free, or others', () => {
  const file = join(host.dir, 'v1.tar');
  const load = (name: string) => host.minict('load-container', '-i', file, '--name', name);
  create('v1', '-p', '8080:80', '-p', '127.0.0.5:53:53/udp');
  expect(host.minict('save-container', 'v1', '-o', file).status).toBe(0);
  const notes = load('v2').stderr;
  expect(notes).toContain('v2 has 127.0.0.1:32768->80/tcp: cannot publish 127.0.0.1:8080/tcp: taken by');
  expect(notes).toContain('v2 has 127.0.0.5:32768->53/udp: cannot publish 127.0.0.5:53/udp: taken by');
  host.minict('rm', 'v1', 'v2');
  expect(load('v3')).toEqual({ status: 0, stdout: 'v3\n', stderr: '' });
  expect(host.minict('start', 'v3').status).toBe(0);
  expect(portsOf('v3')).toEqual(['80/tcp -> 127.0.0.1:8080', '53/udp -> 127.0.0.5:53']);
  host.minict('rm', 'v3');
});

test('another root on this host has a table of its own, and keeps its ports', () => {
  const other = (...words: string[]) =>
    host.minict('--root', join(host.dir, 'other'), '--run-dir', '/run/other', ...words);
  const createThere = (port: string) => other('create', 'r2', '--network', 'far', '-p', port);
  expect(other('network', 'create', 'far', '--subnet', '10.66.0.0/24').status).toBe(0);
  create('r1', '-p', '8080:80');
  for (const ip of ['127.0.0.1', '0.0.0.0']) {
    expectRefused(
      createThere(`${ip}:8080:80`),
      /:8080\/tcp: another minict root has it\nhint: nft list table inet minict_/,
    );
  }
  expect(createThere('8081:80').status).toBe(0);
  expect(host.run(['nft', 'list', 'tables']).stdout.match(/minict_/g)).toHaveLength(2);
  expect(host.minict('rm', 'r1').status).toBe(0);
  expect(host.run(['nft', 'list', 'ruleset']).stdout).toMatch(/127\.0\.0\.1 \. tcp \. 8081 : /);
  expect(other('rm', 'r2').status).toBe(0);
  expect(other('network', 'rm', 'far').status).toBe(0);
  expect(host.snapshot().firewall).toEqual(before.firewall);
  other('system', 'prune');
});

test('two creates at once with one port: one has it, and the other leaves nothing', async () => {
  for (const _ of [1, 2, 3, 4, 5]) {
    const ended = await Promise.all(
      ['a1', 'a2', 'a3'].map(async (name) => {
        const child = host.spawn([MINICT, 'create', name, '-p', '8080:80']);
        return { status: await child.exited, stderr: await new Response(child.stderr as ReadableStream).text() };
      }),
    );
    expect(ended.map(({ status }) => status).sort()).toEqual([0, 125, 125]);
    for (const { status, stderr } of ended) if (status !== 0) expect(stderr).toMatch(/taken by .* of container a[123]/);
    const [name = ''] = host
      .minict('ps', '-q')
      .stdout.split('\n')
      .filter((each) => each !== 'first');
    expect(portsOf(name)).toEqual(['80/tcp -> 127.0.0.1:8080']);
    expect(host.minict('rm', name).status).toBe(0);
    expect(await host.settled(before)).toEqual(before);
  }
});

test('without nft, one clear error, and other containers as ever', () => {
  const tools = join(host.dir, 'no-nft');
  const script = `mkdir ${tools}; for dir in /usr/bin /usr/sbin; do ln -sf $dir/* ${tools}/; done; rm ${tools}/nft`;
  expect(host.run(['sh', '-c', script]).status).toBe(0);
  const poor = (...words: string[]) => host.run([MINICT, ...words], { PATH: tools });
  const message = /^minict: cannot run nft: not found in PATH\nhint: apt-get install nftables\n$/;
  expectRefused(poor('create', 'n1', '-p', '80'), message);
  expectRefused(poor('network', 'create', 'lan', '--nat'), message);
  expect(poor('create', 'n1')).toEqual({ status: 0, stdout: 'n1\n', stderr: '' });
  expect(poor('rm', 'n1').status).toBe(0);
  expect(host.snapshot().firewall).toEqual(before.firewall);
});

test('a printed script does the same, and its way back', async () => {
  const words = ['create', 'd1', '-p', '8080:80'];
  const run = host.minict(...words, '--dry-run').stdout;
  const undo = host.minict(...words, '--dry-run-undo').stdout;
  expect(host.snapshot()).toEqual(before);
  expect(host.run(['sh'], {}, run)).toMatchObject({ status: 0, stderr: '' });
  const inside = ['ip', 'netns', 'exec', 'd1', 'busybox', 'httpd', '-f', '-p', '80', '-h', '/etc'];
  const server = host.spawn(inside);
  expect(await eventually(() => !answers(8080).startsWith('curl'))).toBe(true);
  server.kill();
  await server.exited;
  // It can be asked for when the script has run, too.
  expect(host.minict(...words, '--dry-run-undo').stdout).toBe(undo);
  expect(host.run(['sh'], {}, undo)).toMatchObject({ status: 0, stderr: '' });
  expect(answers(8080)).toBe('curl: 7');
  expect(host.snapshot().firewall).toEqual(before.firewall);
  expect(switchOf('route_localnet')).toBe('0');
});

test('the way back leaves what others have in the table: of another script, and of containers', async () => {
  const [one, other] = ['d1', 'd2'].map((name, index) =>
    ['--dry-run', '--dry-run-undo'].map((option) => {
      const words = ['create', name, '--ip', `192.168.0.${50 + index}`, '-p', `808${index}:80`, option];
      return host.minict(...words).stdout;
    }),
  ) as [string[], string[]];
  const does = (script: string | undefined) =>
    expect(host.run(['sh'], {}, script as string)).toMatchObject({ status: 0, stderr: '' });
  const rules = () => host.snapshot().firewall.join('\n');
  does(one[0]);
  does(other[0]);
  does(one[1]);
  expect(rules()).not.toContain('8080');
  expect(rules()).toContain('8081');
  expect(switchOf('route_localnet')).toBe('1');
  does(other[1]);
  expect(rules()).toBe(before.firewall.join('\n'));
  expect(switchOf('route_localnet')).toBe('0');
  expect(create('known', '-p', '8082:80').status).toBe(0);
  const known = host.snapshot().firewall;
  const back = host.minict('create', 'd3', '-p', '8083:80', '--dry-run-undo').stdout;
  does(host.minict('create', 'd3', '-p', '8083:80', '--dry-run').stdout);
  does(back);
  expect(host.snapshot().firewall).toEqual(known);
  expect(host.minict('rm', 'known').status).toBe(0);
  expect(await host.linksGone(/(d1|d2|d3|known)-eth0/)).toBe(true);
});

test.each([
  [
    ['network', 'create', 'nat', '--subnet', '10.3.0.0/24', '--nat'],
    ['network', 'rm', 'nat'],
  ],
  [
    ['create', 'd2', '-p', '0.0.0.0:8080:80'],
    ['rm', 'd2'],
  ],
])('the scripts of %j and of its end leave the firewall as the verbs do', async (make, end) => {
  const script = (...words: string[]) => host.minict(...words).stdout;
  const [up, down] = [script(...make, '--dry-run'), script(...make, '--dry-run-undo')];
  expect(host.minict(...make).status).toBe(0);
  const made = host.snapshot().firewall;
  const last = script(...end, '--dry-run');
  expect(host.minict(...end).status).toBe(0);
  expect(host.snapshot().firewall).toEqual(before.firewall);
  expect(await host.linksGone(/d2-eth0/)).toBe(true);
  expect(host.run(['sh'], {}, up)).toMatchObject({ status: 0, stderr: '' });
  expect(host.snapshot().firewall).toEqual(made);
  expect(host.run(['sh'], {}, end[0] === 'rm' ? last : down)).toMatchObject({ status: 0, stderr: '' });
  if (end[0] === 'network') {
    expect(host.run(['sh'], {}, up)).toMatchObject({ status: 0, stderr: '' });
    expect(host.run(['sh'], {}, last)).toMatchObject({ status: 0, stderr: '' });
  }
  expect(host.snapshot().firewall).toEqual(before.firewall);
});

test('where the state folder is removed, prune takes the rules along', async () => {
  expect(create('z1', '-p', '0.0.0.0:8080:80').status).toBe(0);
  expect(host.run(['rm', '-rf', '--one-file-system', `${host.root}/containers`, `${host.root}/networks`]).status).toBe(
    0,
  );
  host.minict('system', 'prune');
  expect(host.snapshot().firewall).toEqual(before.firewall);
});
