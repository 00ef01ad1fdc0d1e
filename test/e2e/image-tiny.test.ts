/** An image that has one static program and nothing else, and whose working directory is missing. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Host } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';
import { Layout } from '../helpers/oci-layout.ts';
import { hideContainersCache } from '../helpers/registry.ts';

let host: Host;
let layout: Layout;
beforeAll(async () => {
  host = await Host.create();
  hideContainersCache(host);
  layout = new Layout(join(host.dir, 'layout'));
  host.minict('create', 'first', '--no-network');
});
afterEach(() => void host.minict('rm', '-f', 't'));
afterAll(() => host.destroy());

/** Its one file is busybox, under the name of the program. */
function image(program: string, settings: object): string {
  const dir = mkdtempSync(join(host.dir, 'tiny-'));
  copyFileSync(join(imageTree(host, 'base'), 'bin/busybox'), join(dir, program));
  const { status } = host.run(['tar', '-cf', `${dir}.tar`, '-C', dir, program]);
  expect(status).toBe(0);
  const name = basename(dir).toLowerCase();
  layout.add(name, { layers: [{ tar: readFileSync(`${dir}.tar`) }], settings });
  expect(host.minict('image', 'pull', layout.source(name), name)).toMatchObject({ status: 0, stderr: '' });
  return name;
}

const run = (name: string, ...words: string[]) =>
  host.minict('run', '--rm', '--no-network', 't', '--image', name, ...words);

test('Entrypoint and Cmd in exec form need no shell, nor any folder', () => {
  expect(run(image('echo', { Entrypoint: ['/echo', 'a b'], Cmd: ['c'] }))).toEqual({
    status: 0,
    stdout: 'a b c\n',
    stderr: '',
  });
  expect(run(image('id', { Cmd: ['/id'], User: '7:8' })).stdout).toBe('uid=7 gid=8\n');
  expect(run(image('true', {}), '--', '/true').status).toBe(0);
  // What its owner did not give it is missed: a run without a command is one of a shell.
  expect(run(image('false', {}))).toMatchObject({ status: 127, stdout: '' });
});

test.each<[string, string[]]>([
  ['in the overlay', []],
  ['on a read-only root', ['--read-only']],
  ['in a tree of its own', ['--storage', 'copy']],
  ['in a tmpfs', ['--tmpfs', '/app']],
  ['in a volume', ['-v', '/app']],
  ["in the host's mount table", ['--mounts', 'host']],
])('a WorkingDir that is missing is made, without a shell: %s', (_, options) => {
  const name = image('pwd', { Cmd: ['/pwd'], WorkingDir: '/app/deep/er' });
  expect(run(name, ...options)).toEqual({ status: 0, stdout: '/app/deep/er\n', stderr: '' });
});

test('it belongs to root, whoever the program is, and is there for exec and after a stop', () => {
  const name = image('stat', { WorkingDir: '/app', User: '7:8' });
  host.minict('create', 't', '--no-network', '--image', name);
  const stat = () => host.minict('exec', 't', '/stat', '-c', '%u %g %a %N', '.').stdout;
  expect(stat()).toBe('0 0 755 .\n');
  host.minict('stop', 't');
  host.minict('start', 't');
  expect(stat()).toBe('0 0 755 .\n');
  expect(host.minict('diff', 't').stdout).toBe('');
  expect(host.minict('exec', '-w', '/nope', 't', '/stat', '.')).toMatchObject({
    status: 126,
    stderr: 'minict: cannot use -w /nope: no such directory in the container\n',
  });
});

test('groups of the user, and a working directory, without a tool of the image', () => {
  const name = image('id', { WorkingDir: '/app' });
  const tree = join(host.dir, 'users');
  mkdirSync(tree);
  host.run(['cp', '-a', `${imageTree(host, name)}/.`, tree]);
  mkdirSync(join(tree, 'etc'));
  writeFileSync(join(tree, 'etc/passwd'), 'lab:x:1000:1000::/:/id\n');
  writeFileSync(join(tree, 'etc/group'), 'lab:x:1000:\nmore:x:2000:lab\n');
  const id = (...words: string[]) => run(tree, '-w', '/app', ...words, '--', '/id').stdout;
  expect(id('-u', 'lab')).toBe('uid=1000(lab) gid=1000(lab) groups=2000(more)\n');
  expect(run(tree, '-u', 'lab', '--', '/id').stdout).toBe(id('-u', 'lab'));
  expect(id('-u', '7:8')).toBe('uid=7 gid=8\n');
});

test("none is made in what is the host's, nor through a file", () => {
  const bound = join(host.dir, 'bound');
  mkdirSync(bound);
  const name = image('pwd', { Cmd: ['/pwd'], WorkingDir: '/app/deep' });
  expect(run(name, '-v', `${bound}:/app`)).toMatchObject({ status: 126, stdout: '' });
  expect(readdirSync(bound)).toEqual([]);
  expect(run(name, '-w', '/pwd/x')).toMatchObject({ status: 126, stdout: '' });
  expect(run(name, '-w', '/proc/nope')).toMatchObject({ status: 126, stdout: '' });
});
