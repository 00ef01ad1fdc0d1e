/** Recipes: what they make of a tree, a layer a step, and what of an earlier build is used again. */
import {
  chmodSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectRefused, linksSettle } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { imageNames, storeFiles } from '../helpers/images.ts';
import { build, inspectImage, writeFolder } from '../helpers/recipe.ts';
import { Terminal } from '../helpers/terminal.ts';

let host: Host;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  dir = join(host.dir, 'recipes');
});
afterAll(() => host.destroy());

const folder = (name: string, recipe: string, files: Record<string, string> = {}) =>
  writeFolder(join(dir, name), { 'recipe.yaml': recipe, ...files });

const SITE = `
from: busybox
steps:
  - copy: page
    to: /srv/deep/page
  - run: |
      cat /srv/deep/page >/copy
      rm /var/www/index.html
      rm -r /srv && mkdir /srv && echo new >/srv/new
  - copy: [site/index, tool]
    to: /opt/
    owner: nobody
    mode: '0640'
  - copy: site
    to: /var/www
    owner: 12:34
env: {GREETING: hello you, EMPTY: ''}
cmd: [cat, /copy]
entrypoint: env
workdir: /srv
user: nobody
labels: {org.example.what: a test}
expose: [80, 53/udp]
stop-signal: QUIT
volumes: [/var/lib/db]
`;
const SITE_FILES = { page: 'page\n', tool: '#!/bin/sh\n', 'site/index': 'index\n', 'site/sub/x': 'x\n' };

describe('a recipe', () => {
  test('makes a layer of each step, and settings in the words of OCI', () => {
    const recipe = folder('site', SITE, SITE_FILES);
    symlinkSync('/etc/passwd', join(recipe, 'site/link'));
    chmodSync(join(recipe, 'site/sub'), 0o750);
    const { layers, directories, settings } = build(host, recipe, 'site:1');
    expect(layers).toHaveLength(5);
    expect(settings).toEqual({
      Env: ['GREETING=hello you', 'EMPTY='],
      Cmd: ['cat', '/copy'],
      Entrypoint: ['/bin/sh', '-c', 'env'],
      WorkingDir: '/srv',
      User: 'nobody',
      Labels: { 'org.example.what': 'a test' },
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      StopSignal: 'QUIT',
      Volumes: { '/var/lib/db': {} },
    });
    const [, page, run, several, site] = directories as [string, string, string, string, string];
    const owner = (path: string) => {
      const { mode, uid, gid } = lstatSync(path);
      return `${(mode & 0o7777).toString(8)} ${uid}:${gid}`;
    };
    expect(readFileSync(join(page, 'srv/deep/page'), 'utf8')).toBe('page\n');
    expect(owner(join(page, 'srv/deep/page'))).toBe('644 0:0');
    expect(readFileSync(join(run, 'copy'), 'utf8')).toBe('page\n');
    // overlayfs's marks: a whiteout, and a folder that hides what was in it.
    expect(lstatSync(join(run, 'var/www/index.html')).isCharacterDevice()).toBe(true);
    expect(readdirSync(join(run, 'srv'))).toEqual(['new']);
    expect(readdirSync(run).sort()).toEqual(['copy', 'srv', 'var']);
    expect(readdirSync(join(several, 'opt')).sort()).toEqual(['index', 'tool']);
    expect(owner(join(several, 'opt/tool'))).toBe('640 65534:65534');
    expect(owner(join(several, 'opt'))).toBe('755 0:0');
    expect(owner(join(site, 'var/www'))).toBe('755 0:0');
    expect(owner(join(site, 'var/www/sub'))).toBe('750 12:34');
    expect(owner(join(site, 'var/www/sub/x'))).toBe('644 12:34');
    expect(lstatSync(join(site, 'var/www/link')).isSymbolicLink()).toBe(true);
    expect(statSync(join(recipe, 'page')).mtimeMs).toBeCloseTo(statSync(join(page, 'srv/deep/page')).mtimeMs, -1);

    host.minict('create', 's1', '--image', 'site:1');
    const seen = 'ls /srv /var/www; cat /copy; echo "$GREETING"; pwd; id -u';
    expect(host.minict('exec', 's1', 'sh', '-c', seen).stdout).toBe(
      '/srv:\nnew\n\n/var/www:\nindex\nlink\nsub\npage\nhello you\n/srv\n65534\n',
    );
    expect(host.minict('rm', 's1').status).toBe(0);
  });

  test('its lines see what a container would, and nothing of theirs reaches the host or stays', async () => {
    const hostname = host.run(['hostname']).stdout;
    const hosts = readFileSync('/etc/hosts', 'utf8');
    const recipe = folder(
      'inside',
      `
from: busybox
steps:
  - run: |
      echo gone >/dev/null; head -c 4 /dev/urandom | wc -c; ls /dev/pts/ptmx
      { env; umask; id -u; cat /etc/hosts; ls /proc/1/cwd/; } >/seen
      hostname other; echo bad >>/etc/hosts
      mount -t tmpfs none /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs none /mnt && echo lost >/mnt/file
      sleep 987654 & :
env: {WHO: me}
`,
    );
    await linksSettle(host);
    const before = host.snapshot();
    const { directories } = build(host, recipe, 'inside');
    const { mounts, programs, network } = host.snapshot();
    expect({ mounts, programs, network }).toEqual({
      mounts: before.mounts,
      programs: before.programs,
      network: before.network,
    });
    expect(host.run(['pgrep', '-f', 'sleep 987654']).stdout).toBe('');
    expect(host.run(['hostname']).stdout).toBe(hostname);
    expect(readFileSync('/etc/hosts', 'utf8')).toBe(hosts);
    const top = directories[1] as string;
    const seen = readFileSync(join(top, 'seen'), 'utf8');
    expect(seen).toContain('WHO=me\n');
    expect(seen).toContain('PATH=/usr/local/sbin:');
    expect(seen).toContain(`\n0022\n0\n${hosts}`);
    expect(seen).toContain('\nsrv\n');
    expect(seen).not.toContain('MINICT_ROOT');
    expect(readdirSync(top).sort()).toEqual(['mnt', 'seen']);
    expect(readdirSync(join(top, 'mnt'))).toEqual([]);
  });

  test('from an image of the store, whose settings it takes over', () => {
    build(host, folder('site', SITE, SITE_FILES), 'site:1');
    const recipe = folder(
      'upon',
      `{ from: 'site:1', env: { EMPTY: full, MORE: 'x=y', __proto__: z }, expose: [443], labels: { a: b, __proto__: c } }`,
    );
    const upon = build(host, recipe, 'upon');
    const below = inspectImage(host, 'site:1');
    expect(upon.layers).toEqual(below.layers);
    expect(upon.settings).toMatchObject({
      Env: ['GREETING=hello you', 'EMPTY=full', 'MORE=x=y', '__proto__=z'],
      Cmd: ['cat', '/copy'],
      ExposedPorts: { '80/tcp': {}, '53/udp': {}, '443/tcp': {} },
      Labels: { 'org.example.what': 'a test', a: 'b' },
    });
    expect(Object.entries(upon.settings.Labels as object)).toContainEqual(['__proto__', 'c']);
    const next = build(
      host,
      folder('next', `{ from: upon, entrypoint: [id], steps: [{ run: 'echo "$MORE" >/more' }] }`),
      'n',
    );
    expect(next.layers.slice(0, -1)).toEqual(below.layers);
    expect(next.settings).toMatchObject({ Entrypoint: ['id'], User: 'nobody' });
    expect(next.settings).not.toHaveProperty('Cmd');
    expect(readFileSync(join(next.directories.at(-1) as string, 'more'), 'utf8')).toBe('x=y\n');
    // The same settings are the same image.
    expect(build(host, recipe, 'again').id).toBe(upon.id);
    expect(build(host, folder('b', '{ from: base, steps: [{ run: touch /x }] }'), 'b').layers).toHaveLength(2);
    expect(imageNames(host)).toContain('base');
  });

  test('its root directory keeps mode and owner', () => {
    const recipe = folder('root', '{ from: busybox, steps: [{ run: chmod 711 /; chown 7:8 / }, { run: touch /x }] }');
    const { mode, uid, gid } = statSync(build(host, recipe, 'root').directories[2] as string);
    expect([mode & 0o7777, uid, gid]).toEqual([0o711, 7, 8]);
  });

  test('a whole folder; a file in place of another; the name moves to what is built last', () => {
    const recipe = folder(
      'whole',
      '{ from: busybox, steps: [{ copy: ., to: /app }, { copy: passwd, to: /etc/passwd }] }',
      { 'a/b': 'b', passwd: 'me:x:5:6::/:/bin/sh\n' },
    );
    const first = build(host, recipe, 'whole');
    const [, app, etc] = first.directories as [string, string, string];
    expect(readdirSync(join(app, 'app')).sort()).toEqual(['a', 'passwd', 'recipe.yaml']);
    expect(readFileSync(join(etc, 'etc/passwd'), 'utf8')).toBe('me:x:5:6::/:/bin/sh\n');
    const second = build(host, folder('whole', '{ from: busybox }'), 'whole');
    expect(second.id).not.toBe(first.id);
    expect(host.minict('image', 'ls', '-a').stdout).toContain(first.id.slice(7, 19));
    expect(host.minict('image', 'prune').stdout).toContain(`${first.id}\n`);
    expect(host.minict('image', 'ls', '-a').stdout).not.toContain(first.id.slice(7, 19));
  });
});

test('on a terminal each step, and what its line says, shows as it comes', async () => {
  const recipe = folder('shown', "{ from: busybox, steps: [{ run: 'echo one; sleep 0.2; echo two >&2' }] }");
  const build = async (...options: string[]) => {
    const terminal = new Terminal(host, [MINICT, 'image', 'build', ...options, recipe, 'shown']);
    const shown = await terminal.shows(/^[\s\S]*shown\r\n$/);
    expect(await terminal.status()).toBe(0);
    terminal.close();
    return shown;
  };
  expect(await build('-q')).toBe('shown\r\n');
  expect(await build('--no-cache')).toMatch(/step 1\/1: run echo one; .*\r\none\r\ntwo\r\nshown\r\n$/);
  expect(await build()).toMatch(/step 1\/1: run echo one; .*\r\n {4}as before\r\nshown\r\n$/);
});

describe('the cache', () => {
  const recipe = (line: string, options = '') => `
from: busybox
steps:
  - copy: a
    to: /a
    ${options}
  - run: ${line}
  - run: date +%N >/last
`;

  test('takes each step over until one whose inputs have changed', () => {
    const files = { a: 'one' };
    const first = build(host, folder('c', recipe('cat /proc/sys/kernel/random/uuid >/id'), files), 'c1');
    const builtAgain = (changed: string, content: Record<string, string> = files) =>
      build(host, folder('c', changed, content), 'c2');
    const shared = (other: { layers: readonly string[] }) =>
      other.layers.filter((digest, index) => digest === first.layers[index]).length;
    const same = recipe('cat /proc/sys/kernel/random/uuid >/id');
    expect(builtAgain(same)).toEqual(first);
    expect(shared(builtAgain(same, { a: 'two' }))).toBe(1);
    expect(shared(builtAgain(same, { a: '#!one' }))).toBe(1);
    chmodSync(join(folder('c', same, files), 'a'), 0o600);
    expect(shared(build(host, join(dir, 'c'), 'c2'))).toBe(1);
    expect(shared(builtAgain(recipe('cat /proc/sys/kernel/random/uuid >/id', 'owner: 5')))).toBe(1);
    expect(shared(builtAgain(recipe('cat /proc/sys/kernel/random/uuid >/other')))).toBe(2);
    expect(shared(builtAgain(`${same}env: {A: b}\n`))).toBe(2);
    expect(shared(builtAgain(`${same}labels: {A: b}\n`))).toBe(4);
    expect(builtAgain(same)).toEqual(first);

    const fresh = build(host, join(dir, 'c'), 'c3', '--no-cache');
    expect(shared(fresh)).toBe(0);
    expect(build(host, join(dir, 'c'), 'c4')).toEqual(fresh);
    expect(inspectImage(host, 'c1')).toEqual(first);
  });

  test('counts what an image is made of, and not what it is called', () => {
    const lower = (content: string) =>
      build(host, folder('l', `{ from: busybox, steps: [{ run: echo ${content} >/x }] }`), 'l');
    lower('one');
    const upper = folder('u', '{ from: l, steps: [{ run: cat /proc/sys/kernel/random/uuid >/id }] }');
    const first = build(host, upper, 'u');
    host.minict('image', 'tag', 'l', 'else');
    expect(
      build(host, folder('u2', readFileSync(join(upper, 'recipe.yaml'), 'utf8').replace('l', 'else')), 'u').id,
    ).toBe(first.id);
    lower('two');
    expect(build(host, upper, 'u').layers[2]).not.toBe(first.layers[2]);
    lower('one');
    expect(build(host, upper, 'u').id).toBe(first.id);
  });

  test('keeps the layers of a build that failed later, until image prune; image rm takes those of its image', () => {
    host.minict('image', 'rm', ...imageNames(host));
    host.minict('image', 'prune');
    expect(storeFiles(host)).toEqual([]);
    const steps = (last: string) => `{ from: busybox, steps: [{ run: echo $$ >/x }, { run: '${last}' }] }`;
    expect(host.minict('image', 'build', folder('f', steps('exit 3')), 'f').status).toBe(125);
    expect(storeFiles(host)).toHaveLength(4);
    const kept = storeFiles(host);
    expect(host.minict('system', 'prune').stdout).not.toContain('image');
    expect(storeFiles(host)).toEqual(kept);
    expect(build(host, folder('f', steps('exit 0')), 'f').layers).toHaveLength(3);
    expect(storeFiles(host)).toEqual(expect.arrayContaining(kept));
    expect(host.minict('image', 'prune').stdout).toBe('');
    expect(host.minict('image', 'rm', 'f').stdout).toBe('f\n');
    expect(storeFiles(host)).toEqual([]);

    expect(host.minict('image', 'build', folder('f', steps('exit 3')), 'f').status).toBe(125);
    const entries = readdirSync(join(host.root, 'build-cache/steps')).map((name) =>
      join(host.root, 'build-cache/steps', name),
    );
    const listed = `${entries.sort().join('\n')}\n`;
    expect(host.minict('image', 'prune', '--dry-run').stdout).toBe(listed);
    expect(storeFiles(host)).toHaveLength(4);
    expect(host.minict('image', 'prune').stdout).toBe(listed);
    expect(storeFiles(host)).toEqual([]);
  });

  test('an entry that is damaged, or whose layer is gone, counts as none', () => {
    const recipeDir = folder('d', '{ from: busybox, steps: [{ run: date +%N >/x }] }');
    const first = build(host, recipeDir, 'd1');
    for (const name of readdirSync(join(host.root, 'build-cache/steps'))) {
      writeFileSync(join(host.root, 'build-cache/steps', name), '{"version":1,"blob":');
    }
    const second = build(host, recipeDir, 'd2');
    expect(second.layers[1]).not.toBe(first.layers[1]);
    host.run(['rm', '-r', second.directories[1] as string]);
    const third = build(host, recipeDir, 'd3');
    expect(third.layers[0]).toBe(second.layers[0]);
    expect(third.layers[1]).not.toBe(second.layers[1]);
    expect(existsSync(third.directories[1] as string)).toBe(true);
    host.minict('image', 'rm', 'd1', 'd2', 'd3');
  });

  test('builds of one recipe at once make one image of it', async () => {
    const recipeDir = folder('o', '{ from: busybox, steps: [{ run: sleep 0.3; date +%N >/x }, { copy: a, to: /a }] }', {
      a: 'a',
    });
    const builds = ['o1', 'o1', 'o2'].map((name) => host.spawn([MINICT, 'image', 'build', recipeDir, name]));
    expect(await Promise.all(builds.map(({ exited }) => exited))).toEqual([0, 0, 0]);
    expect(inspectImage(host, 'o1')).toEqual(inspectImage(host, 'o2'));
    expect(storeFiles(host).filter((name) => name.startsWith('layers/'))).toHaveLength(3);
    expect(host.minict('system', 'prune').stdout).not.toContain('image');
    expect(host.minict('image', 'rm', 'o1', 'o2').status).toBe(0);
    expect(storeFiles(host)).toEqual([]);
  });
});

describe('a Debian', () => {
  // The throwaway host has no network: in place of the tool stands one that makes a tree of the busybox, and notes its words.
  const TOOL = `#!/bin/sh
echo "$*" >>"$0.log"
case $* in *broken*) echo 'I: retrieving'; echo 'E: Invalid Release file'; exit 1;; esac
for target; do :; done
mkdir -p "$target/bin" "$target/etc" && cp /bin/busybox "$target/bin/sh" && echo host >"$target/etc/hostname"
date +%N >"$target/made"
`;
  const debian = (packages: string) => `debootstrap:\n  suite: bookworm\n  packages: ${packages}\n`;
  const run = (path: string, ...words: string[]) =>
    host.run(['/usr/bin/env', `PATH=${path}`, MINICT, 'image', 'build', ...words]);

  test('is made once for a suite and packages', () => {
    const bin = writeFolder(join(dir, 'bin'), { mmdebstrap: TOOL });
    const path = `${bin}:${process.env.PATH}`;
    const made = (packages: string, ...options: string[]) => {
      expect(run(path, ...options, folder('deb', debian(packages)), 'deb')).toEqual({
        status: 0,
        stdout: 'deb\n',
        stderr: '',
      });
      return inspectImage(host, 'deb');
    };
    const first = made('[curl, nginx-light]');
    expect(made('[nginx-light, curl]').id).toBe(first.id);
    expect(readFileSync(join(first.directories[0] as string, 'etc/hostname'), 'utf8')).toBe('');
    const others = [
      made('[curl]'),
      made('[curl, nginx-light]', '--suite', 'trixie'),
      made('[curl, nginx-light]', '--no-cache'),
    ];
    expect(new Set([first, ...others].map(({ id }) => id)).size).toBe(4);
    const calls = readFileSync(join(bin, 'mmdebstrap.log'), 'utf8').trim().split('\n');
    expect(calls).toHaveLength(4);
    expect(calls[0]).toMatch(/--include=curl,nginx-light .* bookworm \/.*\/root$/);
    expect(calls[2]).toMatch(/ trixie \/[^ ]*$/);
  });

  test('a tool that fails says why, and so does one that is missing', () => {
    const bin = writeFolder(join(dir, 'bin'), { mmdebstrap: TOOL });
    const before = storeFiles(host);
    const failed = run(`${bin}:${process.env.PATH}`, '--suite', 'broken', folder('deb', debian('[]')), 'bad');
    expect(failed.stderr).toBe(
      `minict: cannot build ${dir}/deb: Invalid Release file\n  I: retrieving\n  E: Invalid Release file\n`,
    );
    const tools = writeFolder(join(dir, 'few'), {});
    host.run(['mkdir', '-p', tools]);
    for (const tool of ['sh', 'setpriv', 'unshare', 'rm']) symlinkSync(Bun.which(tool) as string, join(tools, tool));
    expectRefused(
      run(tools, join(dir, 'deb'), 'bad'),
      /neither mmdebstrap nor debootstrap found\nhint: apt-get install mmdebstrap/,
    );
    expect(storeFiles(host)).toEqual(before);
  });
});
