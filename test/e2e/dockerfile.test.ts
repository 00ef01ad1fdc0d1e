/** A folder with a Dockerfile: buildah builds it, in a storage of minict's own; the image is the store's. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { imageNames, storeFiles } from '../helpers/images.ts';
import { build, inspectImage, isRefusal, writeFolder } from '../helpers/recipe.ts';

let host: Host;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  dir = join(host.dir, 'folders');
});
afterAll(() => host.destroy());

/** A context with the busybox in it. */
function context(name: string, dockerfile: string, file = 'Dockerfile'): string {
  const folder = writeFolder(join(dir, name), { [file]: dockerfile, 'root/etc/passwd': 'root:x:0:0::/root:/bin/sh\n' });
  mkdirSync(join(folder, 'root/bin'));
  copyFileSync('/bin/busybox', join(folder, 'root/bin/sh'));
  host.run(['chmod', '755', join(folder, 'root/bin/sh')]);
  return folder;
}

const SCRATCH = `FROM scratch
COPY root /
RUN set -e; mkdir /srv; echo made >/made; sh -c 'id -u' >/id
ENV GREETING=hello
EXPOSE 80/tcp
WORKDIR /srv
CMD ["/bin/sh", "-c", "cat /made; echo $GREETING; pwd"]
`;
const storage = () => join(host.root, 'build-cache/buildah');
const quiet = () => {
  const { mounts, programs, cgroups, network } = host.snapshot();
  return { mounts, programs, cgroups, network };
};

test('is built by its steps, runs, and is the same image as long as it is the same', () => {
  const before = quiet();
  const first = build(host, context('scratch', SCRATCH), 'scratch:1');
  expect(quiet()).toEqual(before);
  expect(first.settings).toMatchObject({ Env: expect.arrayContaining(['GREETING=hello']), WorkingDir: '/srv' });
  expect(readFileSync(join(first.directories[1] as string, 'made'), 'utf8')).toBe('made\n');
  expect(host.minict('run', '--rm', '--image', 'scratch:1', 's1').stdout).toBe('made\nhello\n/srv\n');
  expect(build(host, join(dir, 'scratch'), 'scratch:2')).toEqual(first);
  const changed = build(host, context('scratch', SCRATCH.replace('echo made', 'echo more')), 'scratch:3');
  expect(changed.layers[0]).toBe(first.layers[0]);
  expect(changed.layers[1]).not.toBe(first.layers[1]);
  const fresh = build(host, join(dir, 'scratch'), 'scratch:3', '--no-cache');
  expect(fresh.id).not.toBe(changed.id);
  expect(host.minict('system', 'prune').stdout).not.toContain('image');
});

test('takes images of the store by their names, a recipe.yaml first', () => {
  const first = inspectImage(host, 'scratch:1');
  const folder = context(
    'upon',
    `from scratch:1 as first
RUN echo upon >/upon
FROM base
COPY --from=first /upon /from/first
COPY --from=scratch:1 /made /from/store
`,
    'Containerfile',
  );
  const { directories, layers } = build(host, folder, 'upon');
  expect(layers).toHaveLength(inspectImage(host, 'base').layers.length + 2);
  const read = (layer: string | undefined, path: string) => readFileSync(join(layer as string, path), 'utf8');
  expect([read(directories[1], 'from/first'), read(directories[2], 'from/store')]).toEqual(['upon\n', 'made\n']);
  expect(layers).not.toContain(first.layers[0]);
  writeFileSync(join(folder, 'recipe.yaml'), 'from: scratch:1\n');
  expect(build(host, folder, 'upon').layers).toEqual(first.layers);
});

test('what is wrong in it is said in its words, and nothing comes of it', () => {
  const before = { images: imageNames(host), store: storeFiles(host), ...quiet() };
  const said = (dockerfile: string): string => {
    const result = host.minict('image', 'build', context('bad', dockerfile), 'bad');
    expect(isRefusal(result)).toBe(true);
    return result.stderr;
  };
  expect(said('FROM scratch\nRUNN x\n')).toMatch(/^minict: cannot build .*bad: .*Unknown instruction: "RUNN"/);
  expect(said('FROM scratch\nCOPY nothing /\n')).toMatch(/^minict: .*nothing.*no such file or directory/);
  expect(said('FROM nobody:1\n')).toMatch(/^minict: .*nobody:1.*\n( {2}.*\n)+hint: .*image pull/);
  const failed = said('FROM scratch:1\nRUN echo half >/half; echo broken >&2; exit 3\n');
  expect(failed).toMatch(/^minict: cannot build .*bad: .*exit status 3\n/);
  expect(failed).toContain('\n  broken\n');
  expect({ images: imageNames(host), store: storeFiles(host), ...quiet() }).toEqual(before);
  expectRefused(
    host.minict('image', 'build', '--suite', 'sid', join(dir, 'bad'), 'bad'),
    /a Dockerfile takes no --suite/,
  );
  const tools = join(dir, 'few');
  mkdirSync(tools);
  for (const tool of ['sh', 'setpriv', 'unshare', 'rm']) symlinkSync(Bun.which(tool) as string, join(tools, tool));
  const without = ['/usr/bin/env', `PATH=${tools}`, MINICT, 'image', 'build', join(dir, 'bad'), 'bad'];
  expectRefused(host.run(without), /buildah: not found in PATH\nhint: apt-get install buildah/);
});

test('a build that is killed ends at once; the next one works; image prune takes the storage', async () => {
  const folder = context('kill', 'FROM scratch:1\nRUN echo half >/half; exec sleep 765432\n');
  host.minict('image', 'prune');
  const before = { store: storeFiles(host), ...quiet() };
  const child = host.spawn([MINICT, 'image', 'build', folder, 'killed']);
  const sleepers = () => host.run(['pgrep', '-f', '^sleep 765432']).stdout.split('\n').filter(Boolean);
  expect(await eventually(() => sleepers().length > 0)).toBe(true);
  expect(host.minict('image', 'prune').stdout).not.toContain('build-cache/buildah');
  child.kill('SIGKILL');
  await child.exited;
  expect(await eventually(() => sleepers().length === 0)).toBe(true);
  expect(await eventually(() => host.minict('system', 'prune').stdout.includes('image folder'))).toBe(true);
  expect({ store: storeFiles(host), ...quiet() }).toEqual(before);
  expect(imageNames(host)).not.toContain('killed');

  writeFileSync(join(folder, 'Dockerfile'), 'FROM scratch:1\nRUN echo whole >/whole\n');
  const made = readdirSync(build(host, folder, 'whole').directories.at(-1) as string);
  expect(made).toContain('whole');
  expect(made).not.toContain('half');
  expect(host.minict('image', 'prune', '--dry-run').stdout).toContain(`${storage()}\n`);
  expect(existsSync(storage())).toBe(true);
  expect(host.minict('image', 'prune').stdout).toContain(`${storage()}\n`);
  expect(existsSync(storage())).toBe(false);
  expect(readdirSync(join(host.root, '.trash'))).toEqual([]);
  expect(build(host, folder, 'whole').layers).toHaveLength(3);
});

test('two at once take turns', async () => {
  const folders = ['x', 'y'].map((name) => context(name, `FROM scratch\nCOPY root /\nRUN echo ${name} >/made\n`));
  const builds = folders.map((folder, index) => host.spawn([MINICT, 'image', 'build', folder, `turn${index}`]));
  expect(await Promise.all(builds.map(({ exited }) => exited))).toEqual([0, 0]);
  const made = [0, 1].map((index) => inspectImage(host, `turn${index}`).directories[1] as string);
  expect(made.map((layer) => readFileSync(join(layer, 'made'), 'utf8'))).toEqual(['x\n', 'y\n']);
});

test('a state folder whose name buildah cannot take is refused', () => {
  const root = join(host.dir, 'a:b c');
  const words = ['--root', root, '--run-dir', '/run/odd', 'image', 'build', join(dir, 'scratch'), 'x'];
  expectRefused(host.minict(...words), /buildah takes no state folder of this name: .*\nhint: one without colons/);
});
