/** What users and scripts may type: names of every kind, wrong command lines, the same thing twice at once. */
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused, expectRefusedThere, linksSettle } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { eth0Of, readIp } from '../helpers/links.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  expectCreated(host, 'taken', '--ip', '192.168.0.11');
});
afterAll(() => host.destroy());

test.each<[string[], RegExp]>([
  [['create', 'a/b'], /"a\/b": not a valid name\nhint: /],
  [['create', '..'], /not a valid name/],
  [['create', '.hidden'], /not a valid name/],
  [['create', 'a b'], /not a valid name/],
  [['create', 'a\nb'], /"a\\nb": not a valid name/],
  [['create', 'a\u001b[31mb'], /not a valid name/],
  [['create', 'ü'], /not a valid name/],
  [['create', ''], /"": not a valid name/],
  [['create', '--', '-x'], /not a valid name/],
  [['create', 'x'.repeat(64)], /longer than 63/],
  [['create', 'debian:12'], /"debian:12": not a valid name\nhint: .*--image/],
  [['create', 'host'], /container name "host": a word of its own\nhint: /],
  [['run', 'host'], /container name "host": a word of its own/],
  [['clone', 'taken', 'host'], /container name "host": a word of its own/],
  [['create', 'b', '--nic', 'p2p:host'], /container name "host": a word of its own/],
  [
    ['create', 'taken'],
    /a container of that name is there\nhint: minict start taken; or minict rm taken, for another one\n/,
  ],
  [['create', 'b', '--image', 'nope'], /image nope: no such image\nhint: minict image ls/],
  [['create', 'b', '--image', './nope'], /no such file/],
  [['create', 'b', '--image', './no\npe'], /\.\/no\\x0ape: no such file/],
  [['create', 'b', '--image', ''], /not a valid name/],
  [['create', 'b', '--rootfs', './nope'], /no such file or directory/],
  [['create', 'b', '--rootfs', '/etc/passwd'], /no directory/],
  [['create', 'b', '--rootfs', '/srv', '--image', 'base'], /--image and --rootfs together/],
  [['create', 'b', '--mounts', 'shared'], /Allowed choices are private, host/],
  [['create', 'b', '-e', '=2'], /cannot use -e/],
  [['create', 'b', '--nope'], /cannot create: unknown option '--nope'\nhint: minict create --help/],
  [['create', 'b', '--imag', 'x'], /unknown option '--imag'\nhint: Did you mean --image\? minict create --help/],
  [['create', 'b', '--ip'], /cannot create: option '--ip <address>' argument missing/],
  [['create'], /cannot create: missing required argument 'name'\nhint: minict create --help/],
  [['create', 'b', '-v', 'lib'], /"lib" is no absolute path\nhint: SRC:DST\[:ro\|rw\], and DST begins with \/\n/],
  [['create', 'b', '--tmpfs', 'lib'], /"lib" is no absolute path\nhint: DST\[:size=64m,…\], and DST begins with \/\n/],
  [['exec', 'nope', 'true'], /no such container\nhint: minict ps -a/],
  [
    ['exec', 'taken'],
    /cannot exec: missing required argument 'cmd'\nhint: a shell: minict exec -it NAME sh; minict exec --help/,
  ],
  [['link', 'r1:eth1'], /missing required argument 'end'\nhint: minict link A:eth1 B:eth1; minict link ls; /],
  [['why', 'taken', 'host', '8080'], /"8080" as a service: .*\nhint: for example tcp\/8080 or udp\/8080;/],
  [['rm', 'nope'], /no such container/],
  [['rm', 'nope', '-f', '../x'], /not a valid name/],
  [['rm', '../taken'], /not a valid name/],
  [['start', 'nope'], /no such container/],
  [['stop', '-t', 'soon', 'taken'], /not a number of seconds/],
  [['ps', '--format', 'xml'], /table or json/],
  [['image', 'import', './nope.tar', 'x'], /^minict: cannot import \.\/nope\.tar: no such file or directory\n/],
  [['export', 'taken', '-o', '/nope/x'], /^minict: cannot export to \/nope\/x: no such file or directory\n/],
  [
    ['save-container', 'taken', '-o', '/nope/x'],
    /^minict: cannot save taken to \/nope\/x: no such file or directory\n/,
  ],
  [['image', 'import', '/etc', '../x'], /not a valid name/],
  [['image', 'nope'], /cannot image: unknown command 'nope'\nhint: minict image --help/],
  [['creat', 'b'], /cannot run minict: unknown command 'creat'\nhint: .*Did you mean create\?.* minict --help/],
  [['images'], /unknown command 'images'\nhint: minict image ls\n/],
  [['help', 'nope'], /unknown command 'nope'/],
  [
    ['image', 'import', 'x.tar'],
    /cannot image import: missing required argument 'name'\nhint: minict image import --help/,
  ],
  [['create', '--name', 'b'], /unknown option '--name'\nhint: .*minict create NAME/],
  [['run', '--name=b', 'base'], /unknown option '--name=b'\nhint: .*minict run NAME/],
  [['create', '--log-opt', 'max-size=1m', 'b'], /unknown option '--log-opt'\nhint: --log-max-size, --log-max-files\n/],
  [['create', 'b', '--net', 'x'], /unknown option '--net'\nhint: --network NETWORK, or --no-network\n/],
  [['run', '-P', 'b'], /unknown option '-P'\nhint: -p PORT /],
  [['inspect', '-f', '{{.State}}', 'taken'], /unknown option '-f'\nhint: it prints JSON: minict inspect NAME \| jq/],
  [['network', 'inspect', '--format', 'json', 'x'], /hint: it prints JSON: minict network inspect NAME/],
  [['image', 'build', '-t', 'x', '.'], /unknown option '-t'\nhint: .*minict image build FOLDER NAME\n/],
  [['rm', '--all'], /unknown option '--all'\nhint: minict ps -aq \| xargs -r minict rm\n/],
  [['update', '--restart', 'always', 'taken'], /unknown option '--restart'\nhint: limits alone change/],
  [['system', 'df'], /unknown command 'df'\nhint: minict image df\n/],
  [['snapshot', 'taken'], /missing required argument 'snapshot'/],
  [['image', 'tag', 'lab/web:1', 'x'], /"lab\/web:1": not a valid name\nhint: a name has no \//],
  [['exec', 'taken', '-it', 'sh'], /"-it" stands after NAME, .*\nhint: minict exec -it taken /],
  [['exec', '-i', 'taken', '-t', 'sh'], /"-t" stands after NAME/],
  [['exec', 'taken', '--'], /no program is named/],
  [['network', 'connect', 'taken', 'minict0'], /the network stands first: minict network connect minict0 taken\n/],
  [['network', 'disconnect', 'taken', 'minict0'], /minict network disconnect minict0 taken\n/],
  [['create', 'b', '--network', 'host'], /network name "host": a word of its own\nhint: .* -p /],
  [['create', 'b', '--network', 'none'], /network name "none": a word of its own\nhint: --no-network\n/],
  [
    ['run', '-d', '--rm', '--restart', 'always', 'b', '--', 'true'],
    /cannot use --restart and --rm together: .*\nhint: take one of them\n/,
  ],
  [['create', 'b', '--env-file', '/nowhere'], /^minict: cannot read env file \/nowhere: no such file or directory\n/],
  [['create', '--verbose', 'b'], /unknown option '--verbose'\nhint: .*minict --verbose create/],
  [['constructor'], /cannot run minict: unknown command 'constructor'/],
  [['--', 'rm', '-f', 'taken'], /container name "-f": not a valid name/],
  [['--nope', 'ps'], /cannot ps: unknown option '--nope'/],
  [['link', '--dry-run', 'down', 'a:eth1'], /cannot link: --dry-run has to stand after down/],
  [['--root', '', 'ps'], /cannot use --root '': no path/],
])('%j is refused', async (words, message) => {
  await expectRefusedThere(host, words, message);
});

test.each([['create'], ['image', 'import'], ['system']])('help %s %s is its --help', (...words) => {
  const help = host.minict(...words, '--help');
  expect(help).toMatchObject({ status: 0, stdout: expect.stringContaining(`Usage: minict ${words.join(' ')}`) });
  expect(host.minict('help', ...words)).toEqual(help);
});

test('an image in the place of the program is told, as docker has it there', () => {
  const result = host.minict('run', '--rm', 'b', 'base');
  expect(result).toMatchObject({ status: 127, stdout: '' });
  expect(result.stderr).toMatch(/^[^\n]*chroot: [^\n]*\nhint: base is an image: minict run b --image base\n$/);
  expect(host.minict('run', '--rm', 'b', 'nope').stderr).not.toContain('hint:');
});

test('a result that cannot be written is told', () => {
  const full = /^minict: cannot write: ENOSPC.*\nhint: /;
  for (const words of ['--version', '--help', 'ps']) {
    const result = host.run(['sh', '-c', '"$0" "$1" >/dev/full', MINICT, words]);
    expect(result).toEqual({ status: 125, stdout: '', stderr: expect.stringMatching(full) });
  }
  expect(host.run(['sh', '-c', '{ sleep 0.1; "$0" --version; echo $? >&2; } | true', MINICT]).stderr).toBe('0\n');
});

test('a good name among bad ones is done, the status says that not all were', () => {
  expectCreated(host, 'good');
  expect(host.minict('rm', 'nope', 'good')).toMatchObject({ status: 125, stdout: 'good\n' });
});

/** Also those of minict's own files in the run dir, of the kernel's in a cgroup, and of words that `ip` knows. */
test.each([
  ...['instance', 'networks', 'minict0', 'default', 'all', '0', 'constructor', 'tasks', 'cgroup.procs', 'memory.max'],
  ...['notify_on_release', 'a..b', 'UP_per-Case.x', 've-a', 'exactly10c', 'x'.repeat(63)],
])('a container can be called %s', async (name) => {
  await linksSettle(host);
  const before = host.snapshot();
  expectCreated(host, name);
  expect(host.minict('exec', name, 'hostname').stdout).toBe(`${name}\n`);
  expect(host.minict('exec', 'taken', 'ping', '-c1', '-W2', name).status).toBe(0);
  expect(host.minict('stop', '-t', '0', name).status).toBe(0);
  expect(host.minict('start', name).status).toBe(0);
  host.minict('exec', '-d', name, 'sleep', '300');
  expect(host.minict('rm', name)).toMatchObject({ status: 125, stderr: expect.stringContaining('processes run') });
  expect(host.minict('rm', '-f', name)).toEqual({ status: 0, stdout: `${name}\n`, stderr: '' });
  await linksSettle(host);
  expect(host.snapshot()).toEqual(before);
});

test('the host end is NAME-eth0 where that fits 15 bytes and is nobody’s prefix, a hash elsewhere', async () => {
  const names = ['exactly10c', 'exactly_11c', 've-a', 'vb-b', 'x'.repeat(63)];
  for (const name of names) expectCreated(host, name);
  const links = readIp(host, 'link', 'show', 'master', 'minict0');
  const linkOf = (name: string) => links.find((link) => link.ifalias?.endsWith(`:${name}:eth0`))?.ifname;
  expect(linkOf('exactly10c')).toBe('exactly10c-eth0');
  for (const name of names.slice(1)) expect(linkOf(name)).toMatch(/^mct[0-9a-f]{12}$/);
  expect(new Set(names.map((name) => eth0Of(host, name).address)).size).toBe(names.length);
  host.minict('rm', ...names);
  await linksSettle(host);
});

test("another's namespace or interface of that name is refused and stays", async () => {
  expect(host.run(['ip', 'netns', 'add', 'theirs']).status).toBe(0);
  await expectRefusedThere(host, ['create', 'theirs'], /\/run\/netns\/theirs is there, and minict did not make it/);
  expect(host.run(['ip', 'netns', 'exec', 'theirs', 'true']).status).toBe(0);
  host.run(['ip', 'netns', 'del', 'theirs']);
  host.run(['ip', 'link', 'add', 'name', 'theirs-eth0', 'type', 'bridge']);
  const before = readIp(host, 'link', 'show', 'dev', 'theirs-eth0');
  await expectRefusedThere(host, ['create', 'theirs'], /an interface theirs-eth0 is there already/);
  expect(readIp(host, 'link', 'show', 'dev', 'theirs-eth0')).toEqual(before);
  host.run(['ip', 'link', 'del', 'theirs-eth0']);
  expectCreated(host, 'theirs');
  host.minict('rm', 'theirs');
});

test('two creates of one name at once: exactly one wins', async () => {
  const both = [host.spawn([MINICT, 'create', 'twin']), host.spawn([MINICT, 'create', 'twin'])];
  expect((await Promise.all(both.map((child) => child.exited))).sort()).toEqual([0, 125]);
  expect(host.minict('rm', 'twin').status).toBe(0);
});

test('twenty creates at once on a root that is not there yet agree on its id', async () => {
  const root = join(host.root, 'fresh');
  expectRefused(host.minict('--root', root, 'create', 'c0'), /run dir .* belongs to another minict root\nhint: /);
  const fresh = ['--root', root, '--run-dir', '/run/fresh'];
  const names = Array.from({ length: 20 }, (_, i) => `c${i}`);
  const all = names.map((name) => host.spawn([MINICT, ...fresh, 'create', '--no-network', name]));
  expect(await Promise.all(all.map((child) => child.exited))).toEqual(names.map(() => 0));
  const inspected = JSON.parse(host.minict(...fresh, 'inspect', ...names).stdout) as { cgroup: string }[];
  const id = readFileSync(join(root, 'instance'), 'utf8').trim();
  expect(inspected.map(({ cgroup }) => cgroup.includes(`/minict-${id}/`))).toEqual(names.map(() => true));
  expect(host.minict(...fresh, 'rm', ...names).status).toBe(0);
  host.minict(...fresh, 'system', 'prune');
});

test('twenty creates at once, each with an address of its own', async () => {
  const names = Array.from({ length: 20 }, (_, i) => `c${i}`);
  const all = names.map((name) => host.spawn([MINICT, 'create', name]));
  expect(await Promise.all(all.map((child) => child.exited))).toEqual(names.map(() => 0));
  const addresses = names.map((name) => eth0Of(host, name).addr_info[0]?.local);
  expect(new Set(addresses).size).toBe(20);
  const rows = JSON.parse(host.minict('ps', '--format', 'json').stdout) as { state: string }[];
  expect(rows.map((row) => row.state)).toEqual(Array(21).fill('ready'));
  expect(host.minict('rm', ...names).status).toBe(0);
});

test("the caller's folder does not reach into minict: no .env, no bunfig.toml", () => {
  const dir = join(host.root, 'caller');
  mkdirSync(dir);
  writeFileSync(join(dir, '.env'), 'MINICT_ROOT=/nonexistent\n');
  writeFileSync(join(dir, 'bunfig.toml'), 'preload = ["./evil.ts"]\n');
  writeFileSync(join(dir, 'evil.ts'), 'console.log("evil");\n');
  const result = host.run(['env', '-C', dir, '-u', 'MINICT_ROOT', MINICT, '--root', host.root, 'ps', '-q']);
  expect(result).toEqual({ status: 0, stdout: 'taken\n', stderr: '' });
  expect(host.run(['env', '-C', dir, '-u', 'MINICT_ROOT', MINICT, 'ps', '-q']).stdout).not.toContain('evil');
});

test('the state folder may be relative, and behind a symlink', () => {
  const dir = join(host.root, 'links');
  mkdirSync(join(dir, 'real'), { recursive: true });
  symlinkSync('real', join(dir, 'link'));
  const there = (...words: string[]) =>
    host.run(['env', '-C', dir, `MINICT_ROOT=link/state`, 'MINICT_RUN_DIR=/run/links', MINICT, ...words]);
  expect(there('create', 'c1', '--no-network', '--mounts', 'host').status).toBe(0);
  expect(there('ps').stdout).toMatch(/^c1 +ready/m);
  expect(existsSync(join(dir, 'real/state/containers/c1/container.json'))).toBe(true);
  expect(host.run([MINICT, '--root', join(dir, 'real/state'), '--run-dir', '/run/links', 'rm', 'c1']).status).toBe(0);
  there('system', 'prune');
});
