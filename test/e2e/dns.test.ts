/** Name servers, search domains and hosts of a container's own, beside what its networks say. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefusedThere } from '../helpers/expect.ts';
import { eventually, Host } from '../helpers/host.ts';

let host: Host;
const HOSTS_OWN = 'nameserver 192.0.2.1\nsearch host.example\noptions edns0\n';
const LOOPBACK = '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n';
const ok = (...words: string[]) => {
  const result = host.minict(...words);
  expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
  return result.stdout;
};
const cat = (name: string, file: string) => ok('exec', name, 'cat', file);
const specOf = (name: string) => JSON.parse(ok('inspect', name))[0];

beforeAll(async () => {
  host = await Host.create();
  host.run(['sh', '-ec', 'printf "$0" >/run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf', HOSTS_OWN]);
  ok('network', 'create', 'lan', '--subnet', '10.1.0.0/24');
  ok('network', 'create', 'inner', '--internal', '--subnet', '10.2.0.0/24');
});
afterAll(() => host.destroy());

/** Answers each question of an A record for that name, and no other. */
const SERVER = `
import socket, sys
address, name, answer = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((address, 53))
print('ready', flush=True)
wanted = b''.join(bytes([len(p)]) + p.encode() for p in name.split('.')) + b'\\0\\0\\1\\0\\1'
while True:
    q, peer = s.recvfrom(512)
    hit = q[12:].startswith(wanted)
    head = q[:2] + (b'\\x81\\x80' if hit else b'\\x81\\x83') + b'\\0\\1' + (b'\\0\\1' if hit else b'\\0\\0') + b'\\0\\0\\0\\0'
    body = b'\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\1\\0\\4' + socket.inet_aton(answer) if hit else b''
    s.sendto(head + q[12:q.index(b'\\0', 12) + 5] + body, peer)
`;

test('a name server and a search domain are asked; what is given stands in the place of the host’s alone', async () => {
  expectCreated(host, 'c1', '--network', 'lan', '--dns', '10.1.0.1', '--dns-search', 'lab.example');
  const server = host.spawn(['python3', '-c', SERVER, '10.1.0.1', 'db.lab.example', '10.9.9.9']);
  const { value } = await server.stdout.getReader().read();
  expect(new TextDecoder().decode(value)).toMatch(/^ready/);
  expect(host.minict('exec', 'c1', 'nslookup', 'db').stdout).toContain('10.9.9.9');
  server.kill();
  expect(cat('c1', '/etc/resolv.conf')).toBe('options edns0\nnameserver 10.1.0.1\nsearch lab.example\n');
  expect(specOf('c1').dns).toEqual({ servers: ['10.1.0.1'], search: ['lab.example'] });

  const options = ['--dns-search', '.', '--dns-option', 'ndots:2', '--dns-option', 'rotate'];
  expect(ok('run', '--rm', 'c2', ...options, '--', 'cat', '/etc/resolv.conf')).toBe(
    'nameserver 192.0.2.1\noptions ndots:2 rotate\n',
  );
  const servers = ['--dns', 'FE80:0::1%eth0', '--dns', '127.0.0.53'];
  expect(ok('run', '--rm', 'c2', '--no-network', ...servers, '--', 'cat', '/etc/resolv.conf')).toBe(
    'search host.example\noptions edns0\nnameserver fe80::1%eth0\nnameserver 127.0.0.53\n',
  );
});

test('hosts of its own come before those of its networks, are nobody else’s, and stay', async () => {
  const extra = ['db.example:127.0.0.5', 'six=fd00::5', 'seven:[FD00::7]', 'host.docker.internal:host-gateway'];
  const own = '127.0.0.5\tdb.example\nfd00::5\tsix\nfd00::7\tseven\n';
  const added = extra.flatMap((each) => ['--add-host', each]);
  expectCreated(host, 'h1', '--network', 'lan', '--dns', '10.1.0.1', ...added);
  expectCreated(host, 'h2', '--network', 'lan');
  const whole = `${LOOPBACK}${own}10.1.0.1\thost.docker.internal\n`;
  expect(cat('h1', '/etc/hosts')).toBe(`${whole}10.1.0.2\tc1\n10.1.0.3\th1\n10.1.0.4\th2\n`);
  expect(cat('h2', '/etc/hosts')).toBe(`${LOOPBACK}10.1.0.2\tc1\n10.1.0.3\th1\n10.1.0.4\th2\n`);
  expect(host.minict('exec', 'h1', 'ping', '-c1', '-W2', 'db.example').status).toBe(0);
  expect(host.minict('exec', 'h1', 'ping', '-c1', '-W2', 'host.docker.internal').status).toBe(0);
  expect(specOf('h1').extraHosts).toContainEqual({ name: 'seven', address: 'fd00::7' });

  ok('network', 'connect', 'inner', 'h1');
  expect(cat('h1', '/etc/hosts')).toBe(
    `${whole}\n# network lan\n10.1.0.2\tc1\n10.1.0.3\th1\n10.1.0.4\th2\n\n# network inner\n10.2.0.1\th1\n`,
  );
  ok('network', 'disconnect', 'lan', 'h1');
  // Nothing leads to the host any more.
  expect(cat('h1', '/etc/hosts')).toBe(`${LOOPBACK}${own}10.2.0.1\th1\n`);
  ok('network', 'disconnect', 'inner', 'h1');
  expect(cat('h1', '/etc/hosts')).toBe(`127.0.0.1\tlocalhost\n127.0.1.1\th1\n${own}`);
  ok('network', 'connect', 'lan', 'h1');
  ok('restart', '-t', '0', 'h1');
  expect(cat('h1', '/etc/hosts')).toContain(whole);

  ok('clone', 'h1', 'h3');
  ok('stop', '-t', '0', 'h1');
  ok('rename', 'h1', 'h4');
  ok('start', 'h4');
  const tar = join(host.dir, 'h3.tar');
  ok('save-container', 'h3', '-o', tar);
  // It says that another has the address.
  expect(host.minict('load-container', '-i', tar, '--name', 'h5').status).toBe(0);
  ok('start', 'h5');
  for (const name of ['h3', 'h4', 'h5']) {
    expect(cat(name, '/etc/hosts')).toContain(whole);
    expect(cat(name, '/etc/resolv.conf')).toContain('nameserver 10.1.0.1\n');
    expect(specOf(name)).toMatchObject({ dns: specOf('h3').dns, extraHosts: specOf('h3').extraHosts });
  }
  expect(await eventually(() => cat('h2', '/etc/hosts').includes('\th5\n'))).toBe(true);
  expect(cat('h2', '/etc/hosts')).not.toContain('db.example');
});

test('the script of a create writes them, too', () => {
  const words = ['--network', 'lan', '--dns', '10.1.0.9', '--add-host', 'gw:host-gateway'];
  const script = ok('create', 's1', ...words, '--dry-run');
  expect(script).toContain('nameserver 10.1.0.9');
  expect(script).toContain('10.1.0.1\tgw');
});

test.each<[string[], RegExp]>([
  [['--dns', 'dns.example'], /^minict: .*dns\.example/],
  [['--dns', '10.1.0.1\nsearch evil'], /^minict: cannot use /],
  [['--dns', 'fe80::1%a b'], /^minict: cannot use --dns "fe80::1%a b": not an IP address\n/],
  [
    ['1', '2', '3', '4'].flatMap((last) => ['--dns', `10.0.0.${last}`]),
    /--dns 10\.0\.0\.4: resolvers ask the first 3 alone/,
  ],
  [['--dns-search', 'a b'], /^minict: cannot use --dns-search "a b": not a domain\nhint: /],
  [['--dns-search', '.', '--dns-search', 'lab'], /'\.' beside others/],
  [['--dns-option', 'ndots: 2'], /not an option of resolv\.conf\(5\)\nhint: /],
  [['--dns-opt', 'ndots:2'], /unknown option '--dns-opt'\nhint: .*--dns-option/],
  [['--add-host', 'db'], /not NAME:ADDRESS\nhint: /],
  [['--add-host', 'db:'], /not NAME:ADDRESS\nhint: /],
  [['--add-host', 'd b:10.0.0.1'], /"d b" is not a host name\nhint: /],
  [['--add-host', 'db:10.0.0.1\n10.0.0.2 other'], /^minict: cannot use /],
  [['--add-host', 'db:10.0.0'], /10\.0\.0/],
  [['--add-host', 'gw:host-gateway', '--network', 'inner'], /gw:host-gateway: the host has no address in .*\nhint: /],
  [['--add-host', 'gw:host-gateway', '--no-network'], /gw:host-gateway: the host has no address in .*\nhint: /],
  [['--add-host', 'a:10.0.0.1', '-v', '/etc/hosts:/etc/hosts:ro'], /--add-host and a volume at \/etc\/hosts together/],
  [['--dns', '10.0.0.1', '-v', '/etc/hosts:/etc/resolv.conf'], /--dns and a volume at \/etc\/resolv\.conf together/],
])('%j is refused', async (words, message) => {
  await expectRefusedThere(host, ['create', 'r1', ...words], message);
});
