/** Recipes that are wrong or hostile, and builds that fail, are killed or run out of disk: nothing is left of them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { imageNames, storeFiles } from '../helpers/images.ts';
import { build, isRefusal, writeFolder } from '../helpers/recipe.ts';

let host: Host;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  dir = join(host.dir, 'recipes');
  // The layers that all of them begin with.
  build(host, folder('first', '{ from: busybox }'), 'first');
});
afterAll(() => host.destroy());

const folder = (name: string, recipe: string, files: Record<string, string> = {}) =>
  writeFolder(join(dir, name), { 'recipe.yaml': recipe, ...files });

/** As it was before: images, layers and what builds keep; processes and mounts. */
const traces = () => {
  const { mounts, programs, cgroups, state } = host.snapshot();
  return { images: imageNames(host), store: storeFiles(host), mounts, programs, cgroups, state };
};

const repeated = (key: string, count: number) => Array.from({ length: count }, (_, i) => `${key}${i}`);
const BOMB = [
  'a0: &a0 [x,x,x,x,x,x,x,x,x]',
  ...Array.from({ length: 12 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(',')}]`),
].join('\n');

describe('a recipe that is wrong is refused with the place of the mistake', () => {
  test.each<[string, string, RegExp]>([
    [
      'an unknown key',
      'from: busybox\nstesp: []\n',
      /recipe\.yaml: unknown key "stesp"; allowed: from, debootstrap, steps, env,/,
    ],
    [
      'an unknown key of a step',
      'from: busybox\nsteps: [{run: a}, {run: b, user: c}]\n',
      /step 2: unknown key "user"; allowed: run/,
    ],
    [
      'a step of two kinds',
      'from: busybox\nsteps: [{run: a, copy: b, to: /c}]\n',
      /step 1: has to have one of copy, run/,
    ],
    ['no step', 'from: busybox\nsteps: [run]\n', /step 1: has to have one of copy, run/],
    ['a wrong type', 'from: busybox\nsteps: {run: a}\n', /steps: has to be a list of steps/],
    ['a number', 'from: busybox\nenv: {PORT: 80}\n', /env\.PORT: has to be text; numbers, .* go in quotes/],
    ['a NUL', 'from: busybox\nsteps: [{run: "a\\0b"}]\n', /step 1: run: has a NUL in it/],
    [
      'a mode that YAML reads as decimal',
      'from: busybox\nsteps: [{copy: a, to: /a, mode: 0644}]\n',
      /mode: .* in quotes, as '0644'/,
    ],
    [
      'a path with dots',
      'from: busybox\nsteps: [{copy: a, to: /a/../../b}]\n',
      /step 1: to: has to be an absolute path without \.\./,
    ],
    [
      'several files in place of one',
      'from: busybox\nsteps: [{copy: [a, b], to: /a}]\n',
      /step 1: to: has to end with \//,
    ],
    ['nothing to begin with', 'steps: []\n', /has to have one of from, debootstrap\nhint: from: busybox/],
    ['two things to begin with', 'from: a\ndebootstrap: {suite: bookworm}\n', /has to have one of from, debootstrap/],
    ['an option for a suite', 'debootstrap: {suite: --help}\n', /debootstrap\.suite: not the name of a Debian suite/],
    [
      'an option for a package',
      'debootstrap: {suite: sid, packages: [curl, -x]}\n',
      /debootstrap\.packages\.1: not the name of a Debian package/,
    ],
    ['a port that is none', 'from: busybox\nexpose: [80, 70000]\n', /expose\.1: no port has that number/],
    ['a signal that is none', 'from: busybox\nstop-signal: NOPE\n', /stop-signal: not a signal; QUIT and SIGTERM are/],
    [
      'a key that is there twice',
      'from: busybox\nsteps: [{run: a}]\nenv: {}\nsteps: []\n',
      /recipe\.yaml: steps: is there twice/,
    ],
    [
      'text that is YAML',
      'from: busybox\nsteps:\n  - run: echo a: b\n',
      /line 3: .*\nhint: text with a colon, .* goes in quotes/,
    ],
    ['what never ends', 'from: busybox\nsteps:\n  - run: [\n  - copy: a\n', /recipe\.yaml: line 3: /],
    ['several documents', 'from: busybox\n---\nsteps: []\n', /recipe\.yaml: has to have keys; allowed: from,/],
    ['nothing', '# later\n', /recipe\.yaml: has to have keys/],
    ['an alias', 'from: busybox\nsteps: [&a {run: x}, *a]\n', /steps\.1: is an alias of another list or mapping/],
    ['an alias of what it is in', 'from: busybox\nsteps: &a [{run: x}, *a]\n', /steps\.1: is an alias/],
    ['a bomb', `${BOMB}\n`, /recipe\.yaml: Excessive aliasing/],
    ['a tower', '['.repeat(30_000), /recipe\.yaml: too deep/],
    ['a large file', `from: busybox\n#${'x'.repeat(70_000)}\n`, /is larger than 64 KiB/],
    [
      'a thousand steps',
      `from: busybox\nsteps:\n${repeated('  - run: echo ', 1000).join('\n')}\n`,
      /more than 100 steps/,
    ],
  ])('%s', (_, recipe, message) => {
    const before = traces();
    expectRefused(host.minict('image', 'build', folder('wrong', recipe, { a: 'a', b: 'b' }), 'wrong'), message);
    expect(traces()).toEqual(before);
  });

  test('a folder that is no recipe, and words that do not fit', () => {
    const before = traces();
    const refused = (words: string[], message: RegExp) =>
      expectRefused(host.minict('image', 'build', ...words), message);
    const good = folder('good', '{ from: busybox }');
    refused([join(dir, 'nowhere'), 'x'], /nowhere: no such file or directory/);
    refused([join(good, 'recipe.yaml'), 'x'], /no folder\nhint: name the folder/);
    refused(
      [writeFolder(join(dir, 'none'), { file: '' }), 'x'],
      /neither recipe\.yaml nor Dockerfile\nhint: recipe\.yaml begins with/,
    );
    refused([good, 'A/b'], /not a valid name/);
    refused(['--suite', 'bookworm', good, 'x'], /its recipe takes no --suite/);
    refused(
      ['--suite', '-x', folder('deb', 'debootstrap: {suite: sid}'), 'x'],
      /"-x" is not the name of a Debian suite/,
    );
    refused([folder('lost', '{ from: "nobody:1" }'), 'x'], /from: no image nobody:1\nhint: minict image ls/);
    refused(
      [folder('far', '{ from: example.org/web }'), 'x'],
      /from: no image .*\nhint: minict image pull docker:\/\/example/,
    );
    mkdirSync(join(dir, 'odd/recipe.yaml'), { recursive: true });
    refused([join(dir, 'odd'), 'x'], /recipe\.yaml: is no regular file/);
    host.run(['mkfifo', join(writeFolder(join(dir, 'pipe'), { file: '' }), 'recipe.yaml')]);
    refused([join(dir, 'pipe'), 'x'], /recipe\.yaml: is no regular file/);
    expect(traces()).toEqual(before);
  });
});

describe('copy', () => {
  test.each<[string, string, RegExp]>([
    ['from above', 'copy: ../victim, to: /x', /step 1 .*: \.\.\/victim is outside of/],
    ['by an absolute path', 'copy: /etc/shadow, to: /x', /no \/etc\/shadow in/],
    ['through a symlink', 'copy: link, to: /x', /link is outside of .*\nhint: copy it into/],
    ['what is not there', 'copy: nothing, to: /x', /no nothing in/],
    ['a pipe', 'copy: odd, to: /x', /odd\/pipe is no file, folder or symlink/],
    ['onto a folder', 'copy: page, to: /etc', /\/etc is a folder in the image\nhint: to: \/etc\//],
    ['below a file', 'copy: page, to: /etc/passwd/x', /\/etc\/passwd is no folder in the image/],
    ['a folder onto a file', 'copy: tree, to: /etc/passwd', /\/etc\/passwd is no folder in the image/],
    [
      'onto a symlink',
      'copy: page, to: /bin/sh',
      /\/bin\/sh is a symlink in the image\nhint: it leads to \/bin\/busybox/,
    ],
    ['an owner that is not there', 'copy: page, to: /x, owner: you', /no you in \/etc\/passwd of the image/],
    ['a group that is not there', "copy: page, to: /x, owner: 'root:us'", /no us in \/etc\/group of the image/],
  ])('%s', (_, step, message) => {
    writeFileSync(join(dir, 'victim'), 'safe');
    const recipe = folder('copy', `{ from: busybox, steps: [{ ${step} }] }`, {
      page: 'p',
      'tree/x': 'x',
      'odd/a': 'a',
    });
    symlinkSync('/etc/passwd', join(recipe, 'link'));
    host.run(['mkfifo', join(recipe, 'odd/pipe')]);
    const before = traces();
    expectRefused(host.minict('image', 'build', recipe, 'bad'), message);
    expect(traces()).toEqual(before);
  });

  test.each(['out/evil', 'out', 'in/evil'])('through a symlink of the image, to /%s', (to) => {
    const outside = join(host.dir, 'outside');
    mkdirSync(outside, { recursive: true });
    const links = `ln -s ${outside} /out; ln -s /etc /in; ln -s ${outside}/passwd /etc/shells`;
    build(host, folder('links', `{ from: busybox, steps: [{ run: '${links}' }] }`), 'links');
    for (const source of ['page', 'tree']) {
      const recipe = folder('through', `{ from: links, steps: [{ copy: ${source}, to: /${to} }] }`, {
        page: 'p',
        'tree/x': 'x',
      });
      expectRefused(
        host.minict('image', 'build', recipe, 'bad'),
        /\/(out|in) is a symlink in the image\nhint: it leads to \//,
      );
    }
    const tree = folder('within', '{ from: links, steps: [{ copy: tree, to: / }] }', { 'tree/out/evil': 'x' });
    expectRefused(host.minict('image', 'build', tree, 'bad'), /\/out is a symlink/);
    expect(readdirSync(outside)).toEqual([]);
    expect(imageNames(host)).not.toContain('bad');
    host.minict('image', 'rm', 'links');
  });

  test('an image whose passwd leads out names nobody of the host', () => {
    const recipe = folder(
      'names',
      "{ from: busybox, steps: [{ run: 'ln -sf /etc/passwd /etc/shells; rm /etc/passwd; ln -s /proc/1/root/etc/passwd /etc/passwd' }, { copy: a, to: /a, owner: daemon }] }",
      { a: 'a' },
    );
    expectRefused(host.minict('image', 'build', recipe, 'bad'), /no daemon in \/etc\/passwd of the image/);
    host.minict('image', 'prune');
  });
});

test('a line that fails shows the end of what it said', () => {
  const line = 'for i in $(seq 1 200); do echo "line $i"; done; echo broken >&2; exit 7';
  const before = traces();
  const result = host.minict(
    'image',
    'build',
    folder('fails', `{ from: busybox, steps: [{ run: '${line}' }] }`),
    'bad',
  );
  expect(isRefusal(result)).toBe(true);
  expect(result.stderr).toMatch(/^minict: cannot build .*fails: step 1 \(run for i in .*…\): exit status 7\n/);
  expect(result.stderr).toContain('\n  line 199\n  line 200\n  broken\n');
  expect(result.stderr).not.toContain('line 150');
  expect(traces()).toEqual(before);
});

test('an image without a shell, and one whose /proc leads elsewhere', () => {
  build(host, folder('bare', '{ from: busybox, steps: [{ run: rm /bin/sh }] }'), 'bare');
  const empty = host.minict('image', 'build', folder('run', '{ from: bare, steps: [{ run: ls }] }'), 'bad');
  expect(empty).toMatchObject({ status: 125, stdout: '' });
  expect(empty.stderr).toMatch(/step 1 \(run ls\): exit status 127\n {2}.*sh.*No such file/);
  // Seen from outside of the image, this would be mounted over.
  const folders = `rmdir /proc && ln -s ${dir} /proc`;
  build(host, folder('proc', `{ from: busybox, steps: [{ run: 'mkdir /p' }] }`), 'ok');
  const tree = join(dir, 'tree');
  host.run([
    'sh',
    '-c',
    `mkdir ${tree} && cd ${tree} && mkdir bin dev etc && cp /bin/busybox bin/sh && ${folders.replace('rmdir /proc && ', '').replace(' /proc', ' proc')}`,
  ]);
  expect(host.minict('image', 'import', tree, 'led').status).toBe(0);
  const before = traces();
  const led = host.minict('image', 'build', folder('run', '{ from: led, steps: [{ run: ls }] }'), 'bad');
  expect(led.stderr).toContain('\n  /proc of the image is no folder\n');
  expect(traces()).toEqual(before);
  host.minict('image', 'rm', 'bare', 'ok', 'led');
});

describe('a build that is killed', () => {
  test.each(['alone', 'with all it runs'])(
    '%s: its line ends with it, and prune reclaims what it had made',
    async (how) => {
      const recipe = folder('kill', "{ from: busybox, steps: [{ run: 'echo half >/half; exec sleep 876543' }] }");
      const before = traces();
      const child = host.spawn(['setsid', MINICT, 'image', 'build', recipe, 'killed']);
      const sleepers = () => host.run(['pgrep', '-f', 'sleep 876543$']).stdout.split('\n').filter(Boolean);
      expect(await eventually(() => sleepers().length > 0)).toBe(true);
      expect(host.minict('system', 'prune').stdout).not.toContain('image');
      expect(host.snapshot().mounts).toEqual(before.mounts);
      process.kill(how === 'alone' ? child.pid : -child.pid, 'SIGKILL');
      await child.exited;
      expect(await eventually(() => sleepers().length === 0)).toBe(true);
      expect(imageNames(host)).toEqual(before.images);
      // Its programs hold the lock to their very end.
      expect(await eventually(() => host.minict('system', 'prune', '--dry-run').stdout.includes('image folder'))).toBe(
        true,
      );
      expect(host.minict('system', 'prune').stdout).toMatch(/^image folder .*\.new-[0-9a-f]+$/m);
      expect(traces()).toEqual(before);
      writeFileSync(
        join(recipe, 'recipe.yaml'),
        readFileSync(join(recipe, 'recipe.yaml'), 'utf8').replace('; exec sleep 876543', ''),
      );
      expect(build(host, recipe, 'killed').layers).toHaveLength(2);
      host.minict('image', 'rm', 'killed');
      host.minict('image', 'prune');
      expect(traces()).toEqual(before);
    },
  );

  test('while it copies', async () => {
    const recipe = folder('big', '{ from: busybox, steps: [{ copy: big, to: /big }] }', { big: '' });
    host.run(['truncate', '-s', '256M', join(recipe, 'big')]);
    const before = traces();
    const child = host.spawn([MINICT, 'image', 'build', recipe, 'killed']);
    const added = () => storeFiles(host).filter((name) => !before.store.includes(name));
    expect(
      await eventually(() => added().some((name) => existsSync(join(host.root, 'images', name, 'step-1/upper/big')))),
    ).toBe(true);
    child.kill('SIGKILL');
    await child.exited;
    expect(await eventually(() => host.minict('system', 'prune').stdout.includes('image folder'))).toBe(true);
    host.minict('image', 'prune');
    expect(traces()).toEqual(before);
  });
});

test('a full disk is named, whatever fills it, and nothing is left on it', () => {
  const small = join(dir, 'small');
  mkdirSync(small);
  const script = `mount -t tmpfs -o size=8m small "$1" && export MINICT_ROOT="$1" MINICT_RUN_DIR="$6"
files() { find "$1" -type f | sort; }
"$2" image build "$3" ok && files "$1" >"$4" && "$2" image build "$5" big
echo $?; files "$1" | diff "$4" -; mount | grep -c "$1"; umount "$1"`;
  const ok = folder('ok', '{ from: busybox }');
  for (const [run, step, files] of [
    ['/run/small1', 'run: dd if=/dev/zero of=/big bs=1M count=6', {}],
    ['/run/small2', 'copy: big, to: /big', { big: 'x'.repeat(6_000_000) }],
  ] as const) {
    const big = folder('full', `{ from: busybox, steps: [{ ${step} }] }`, files);
    const result = host.run(['sh', '-c', script, 'sh', small, MINICT, ok, join(dir, 'files'), big, run]);
    expect(result.stderr).toMatch(/^minict: cannot build .*full: no space left on the disk of .*\nhint: df -h .*\n$/m);
    expect(result.stdout).toBe('ok\n125\n1\n');
  }
});
