/** Volumes, binds and tmpfs of a container that goes to another host: what comes along, what stays and is said to. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { type Host, MINICT } from '../helpers/host.ts';
import { pipe } from '../helpers/move.ts';
import { treeFacts } from '../helpers/tree-facts.ts';
import { useTwoHosts } from '../helpers/two-hosts.ts';

const hosts = useTwoHosts();
const { ok, over } = hosts;

/** What a layer's tar could not say: names of whiteouts, and an overlay's marks. */
const FILL = `import os
os.chdir('%'); open('.wh.kept', 'w').write('kept'); os.mkdir('.wh.dir'); os.mknod('zero', 0o20666, os.makedev(0, 0))
os.mkdir('opaque'); os.setxattr('opaque', 'trusted.overlay.opaque', b'y'); os.chown('.', 12, 34); os.chmod('.', 0o2770)
open('file', 'w').write('file'); os.link('file', 'link'); os.utime('file', ns=(1, 123456789))
f = open('hole', 'w'); f.truncate(1 << 20); f.close()`;
const fill = (dir: string) => {
  expect(hosts.here.run(['python3', '-c', FILL.replace('%', dir)])).toEqual({ status: 0, stdout: '', stderr: '' });
};
const ownVolume = (host: Host) => join(host.root, 'containers/db1/volumes/0');
const MARK = "import os, sys; print(os.getxattr(sys.argv[1] + '/opaque', 'trusted.overlay.opaque'))";
const mark = (host: Host) => host.run(['python3', '-c', MARK, ownVolume(host)]).stdout;

test('its own volumes come along, named ones stay, binds are those of the other host where that is wanted', async () => {
  const bound = join(hosts.here.dir, 'bound');
  mkdirSync(bound);
  const mounts = [
    '-v',
    '/own',
    '-v',
    `${bound}:/bound:ro`,
    '-v',
    'logs:/var/www',
    '--tmpfs',
    '/tmp:size=64k',
    '--read-only',
  ];
  ok('create', 'db1', '--no-network', ...mounts);
  fill(ownVolume(hosts.here));
  ok('exec', 'db1', 'sh', '-c', 'echo mine >/var/www/mine');
  const refused = await pipe(hosts.here, ['db1'], hosts.there, []);
  expectRefused(refused.loaded, new RegExp(`it mounts ${bound} of its host at /bound\\nhint: --binds`));
  const { saved, loaded } = await pipe(hosts.here, ['db1'], hosts.there, ['--binds', '--start']);
  expect(saved).toEqual({
    status: 0,
    stdout: '',
    stderr:
      `minict: ${bound}, at /bound, stays here: load-container --binds has that host's\n` +
      'minict: the files of volume logs, at /var/www, stay here: --volumes takes them along\n',
  });
  expect(loaded).toEqual({
    status: 0,
    stdout: 'db1\n',
    stderr: 'minict: db1 has the volume logs of this host at /var/www: no files of it came along\n',
  });
  expect(treeFacts(hosts.there, ownVolume(hosts.there))).toEqual(treeFacts(hosts.here, ownVolume(hosts.here)));
  const attributes = (host: Host) => ['mode', 'uid', 'gid'].map((key) => statSync(ownVolume(host))[key as 'mode']);
  expect(attributes(hosts.there)).toEqual(attributes(hosts.here));
  expect(mark(hosts.there)).toBe("b'y'\n");
  writeFileSync(join(bound, 'file'), 'bound');
  expect(over('exec', 'db1', 'sh', '-c', 'cat /bound/file; ls /var/www; df /tmp | tail -1; cat /own/.wh.kept')).toMatch(
    /^boundindex\.html\ntmpfs +64 .*\nkept$/,
  );
  expect(hosts.there.minict('exec', 'db1', 'touch', '/x').stderr).toMatch(/Read-only file system/);
  over('rm', '-f', 'db1');
  writeFileSync(join(hosts.here.dir, 'kept'), '');
  expect(existsSync(join(bound, 'file'))).toBe(true);
  hosts.here.run(['rm', '-r', bound]);
});

test('files of named volumes come along where that is asked for, and replace none', async () => {
  ok('create', 'db1', '--no-network', '-v', 'data:/data', '-v', 'data:/again', '-v', 'new:/new');
  fill(join(hosts.here.root, 'volumes/data/data'));
  expect(await pipe(hosts.here, ['db1', '--volumes'], hosts.there, ['--start'])).toMatchObject({
    saved: { status: 0, stderr: '' },
    loaded: { status: 0, stdout: 'db1\n', stderr: '' },
  });
  const data = (host: Host) => treeFacts(host, join(host.root, 'volumes/data/data'));
  expect(data(hosts.there)).toEqual(data(hosts.here));
  expect(over('exec', 'db1', 'cat', '/data/file', '/again/file')).toBe('filefile');
  expect(over('volume', 'ls', '-q')).toBe('data\nnew\n');
  over('exec', 'db1', 'sh', '-c', 'echo theirs >/data/file');
  const before = hosts.there.snapshot();
  const again = await pipe(hosts.here, ['db1', '--volumes'], hosts.there, ['--name', 'db2']);
  expectRefused(again.loaded, /cannot make volume data: one of that name is there\nhint: .*--volumes/);
  expect(hosts.there.snapshot()).toEqual(before);
  expect((await pipe(hosts.here, ['db1'], hosts.there, ['--name', 'db2', '--start'])).loaded.status).toBe(0);
  expect(over('exec', 'db2', 'cat', '/data/file')).toBe('theirs\n');
  over('rm', '-f', 'db1', 'db2');
  over('volume', 'prune');
  // Whatever goes wrong at last, its volumes are not left.
  hosts.there.run(['ip', 'netns', 'add', 'db1']);
  expectRefused((await pipe(hosts.here, ['db1', '--volumes'], hosts.there, [])).loaded, /\/run\/netns\/db1 is there/);
  hosts.there.run(['ip', 'netns', 'del', 'db1']);
  expect(over('volume', 'ls', '-q')).toBe('');
});

test('a running container: its files and its volumes are of one moment', async () => {
  const loop = 'while :; do echo x >>/a; echo x >>/own/b; done';
  ok('run', '-d', 'db1', '--no-network', '-v', '/own', '--', 'sh', '-c', loop);
  for (const name of ['one', 'two', 'three']) {
    expect((await pipe(hosts.here, ['db1'], hosts.there, ['--name', name])).loaded).toMatchObject({
      status: 0,
      stderr: '',
    });
    const size = (path: string) => statSync(join(hosts.there.root, 'containers', name, path)).size;
    expect([0, 2]).toContain(size('upper/a') - size('volumes/0/b'));
  }
  expect(readFileSync(join(hosts.there.root, 'containers/one/volumes/0/b'), 'utf8')).toMatch(/^(x\n)+$/);
});

test('a compressed stream is taken as it is', () => {
  ok('create', 'db1', '--no-network', '-v', '/own');
  fill(ownVolume(hosts.here));
  const tar = join(hosts.here.dir, 'db1.tar');
  ok('save-container', 'db1', '-o', tar);
  for (const tool of ['gzip', 'zstd', 'xz']) {
    const script = '"$2" -c "$1" | "$0" load-container --name "$2"';
    expect(hosts.there.run(['sh', '-c', script, MINICT, tar, tool])).toEqual({
      status: 0,
      stdout: `${tool}\n`,
      stderr: '',
    });
    const own = join(hosts.there.root, 'containers', tool, 'volumes/0');
    expect(treeFacts(hosts.there, own)).toEqual(treeFacts(hosts.here, ownVolume(hosts.here)));
    const cut = '"$2" -c "$1" | head -c 2000 | "$0" load-container --name x';
    expectRefused(hosts.there.run(['sh', '-c', cut, MINICT, tar, tool]), /damaged|truncated/);
    const taken = '"$2" -c "$1" | "$0" load-container --name "$2"';
    expectRefused(hosts.there.run(['sh', '-c', taken, MINICT, tar, tool]), /a container \S+ is there/);
  }
});
