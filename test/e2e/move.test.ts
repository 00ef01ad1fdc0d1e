/** A container goes from one host to another, with its files, settings, snapshots and image. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { eventually } from '../helpers/host.ts';
import { imageNames, imageTree } from '../helpers/images.ts';
import { eth0Of } from '../helpers/links.ts';
import { filesOf, move, pipe, scriptIn } from '../helpers/move.ts';
import { inspect, programsOf } from '../helpers/processes.ts';
import { MOUNTED, treeFacts } from '../helpers/tree-facts.ts';
import { useTwoHosts } from '../helpers/two-hosts.ts';

const hosts = useTwoHosts();
const { ok, over } = hosts;

/** Whatever a file system can have, on top of a layer and an image that it hides parts of. */
const FIXTURE = [
  `open('etc/passwd', 'a').write('web:x:1000:1000::/:/bin/sh\\n'); os.makedirs('srv/dir'); os.mkdir('srv/sticky'); os.chmod('srv/sticky', 0o1777)
open('srv/dir/one', 'w').write('one'); os.chown('srv/dir/one', 12345, 54321); os.chmod('srv/dir/one', 0o4751)
os.utime('srv/dir/one', ns=(1, 86400123456789)); os.mkdir('srv/hidden'); open('srv/hidden/below', 'w')
open('srv/gone', 'w'); os.mkdir('srv/gone-dir'); open('srv/gone-dir/x', 'w')`,
  `os.link('srv/dir/one', 'srv/two'); os.symlink('/etc/passwd', 'srv/out'); os.symlink('../../../x', 'srv/up')
os.lchown('srv/up', 7, 8); os.mkfifo('srv/pipe', 0o640); os.mknod('srv/null', 0o20666, os.makedev(1, 3))
open(b'srv/caf\\xe9 \\n"', 'w'); open('srv/' + 'n' * 255, 'w'); os.makedirs('srv/' + '/'.join(['d' * 200] * 8))
f = open('srv/hole', 'w'); f.truncate(3 << 20); f.seek(3 << 20); f.write('end'); f.close()
open('srv/big', 'wb').write(os.urandom(3 << 20)); open('srv/cap', 'w')
os.setxattr('srv/dir/one', 'user.note', b'kept'); os.setxattr('srv/dir', 'trusted.note', b'kept')
os.setxattr('srv/cap', 'security.capability', bytes.fromhex('0100000200200000000000000000000000000000'))
acl = bytes.fromhex('0200000001000600ffffffff02000400d204000004000400ffffffff10000400ffffffff20000000ffffffff')
os.setxattr('srv/sticky', 'system.posix_acl_access', acl)
import shutil
os.remove('srv/gone'); shutil.rmtree('srv/gone-dir'); shutil.rmtree('srv/hidden'); os.mkdir('srv/hidden')
open('srv/hidden/above', 'w'); os.remove('var/www/index.html'); shutil.rmtree('var/log'); open('var/log', 'w')
os.chmod('.', 0o711); os.chown('.', 3, 4)
os.utime('var/www', ns=(1, 999999999999999999)); os.utime('.', ns=(1, 123456789))`,
];

test('a stopped container: each file of it, its settings, its snapshots', async () => {
  ok(
    'create',
    'web1',
    '-e',
    'A=b c',
    '-w',
    '/srv',
    '-u',
    'web',
    '-l',
    'k=v',
    '-e',
    '__proto__=x',
    '-l',
    '__proto__=y',
    '--stop-signal',
    'INT',
    '--',
    'sleep',
    '9',
  );
  const [first = '', second = ''] = FIXTURE;
  scriptIn(hosts.here, 'web1', first);
  ok('stop', 'web1');
  ok('snapshot', 'create', 'web1', 'a');
  ok('start', 'web1');
  scriptIn(hosts.here, 'web1', second);
  const files = filesOf(hosts.here, 'web1');
  expect(files.length).toBeGreaterThan(300);
  ok('stop', '-t', '0', 'web1');
  expect(await move(hosts.here, ['web1'], hosts.there)).toBe('web1');
  expect(over('ps', '-a', '--format', 'json')).toContain('"state":"stopped"');
  expect(over('start', 'web1')).toBe('web1\n');
  expect(filesOf(hosts.there, 'web1')).toEqual(files);
  expect(over('exec', 'web1', 'sh', '-c', 'echo $A; pwd; id -u; hostname')).toBe('b c\n/srv\n1000\nweb1\n');
  expect(over('exec', 'web1', 'env')).toContain('__proto__=x\n');
  expect(over('inspect', 'web1')).toContain('"__proto__": "y"');
  const [mine, theirs] = [ok, over].map((minict) => JSON.parse(minict('inspect', 'web1'))[0]);
  for (const key of ['createdAt', 'command', 'env', 'user', 'workdir', 'stopSignal', 'labels', 'image', 'imageId']) {
    expect(theirs[key], key).toEqual(mine[key]);
  }
  expect(eth0Of(hosts.there, 'web1').addr_info[0]).toMatchObject({ local: mine.address, prefixlen: 24 });
  expect(theirs.nics[0].mac).not.toBe(mine.nics[0].mac);
  expect(imageNames(hosts.there)).toEqual(['base']);
  for (const words of [
    ['snapshot', 'diff', 'web1', 'a'],
    ['diff', 'web1'],
  ]) {
    expect(over(...words)).toBe(ok(...words));
  }
  over('snapshot', 'rollback', '-t', '0', 'web1', 'a');
  ok('snapshot', 'rollback', 'web1', 'a');
  ok('start', 'web1');
  // The root directory itself is a new one on each side.
  expect(filesOf(hosts.there, 'web1').slice(1)).toEqual(filesOf(hosts.here, 'web1').slice(1));
  expect(over('exec', 'web1', 'sh', '-c', 'ls /srv /var/www /srv/hidden')).toContain('below');
});

test('a running container: at one moment of it, and it goes on as it was', async () => {
  const script = 'while :; do echo x >>/a; echo x >>/b; done';
  ok('run', '-d', 'web1', '--no-network', '--', 'sh', '-c', script);
  const { folder } = inspect(hosts.here, 'web1');
  expect(await eventually(() => existsSync(join(folder, 'upper/b')))).toBe(true);
  const json = join(folder, 'container.json');
  const before = { json: readFileSync(json, 'utf8'), programs: programsOf(hosts.here, 'web1') };
  for (const name of ['one', 'two', 'three']) {
    expect(await move(hosts.here, ['web1'], hosts.there, ['--name', name])).toBe(name);
    const size = (file: string) => statSync(join(hosts.there.root, 'containers', name, 'upper', file)).size;
    expect([0, 2]).toContain(size('a') - size('b'));
    expect(size('a')).toBeGreaterThan(0);
  }
  expect({ json: readFileSync(json, 'utf8'), programs: programsOf(hosts.here, 'web1') }).toEqual(before);
  expect(await move(hosts.here, ['web1'], hosts.there, ['--start'])).toBe('web1');
  expect(programsOf(hosts.there, 'web1')).toHaveLength(1);
});

test('what is read by others: a tar, tars of layers in it, and an archive of the image', () => {
  ok('create', 'web1');
  ok('exec', 'web1', 'sh', '-c', 'echo one >/srv/one; rm /var/www/index.html');
  ok('stop', 'web1');
  ok('snapshot', 'create', 'web1', 'a');
  const tar = join(hosts.here.dir, 'web1.tar');
  for (const _ of [1, 2]) ok('save-container', 'web1', '-o', tar);
  const sh = (script: string) => {
    const result = hosts.here.run(['sh', '-ec', script, tar]);
    expect(result, script).toMatchObject({ status: 0, stderr: '' });
    return result.stdout.split('\n').filter(Boolean);
  };
  const names = sh('tar tf "$0"');
  expect(names.slice(0, 2)).toEqual(['minict-container.json', 'upper.tar']);
  expect(names).toEqual(expect.arrayContaining(['oci-layout', 'index.json']));
  const layer = names.find((name) => name.startsWith('layers/')) as string;
  expect(sh(`tar xOf "$0" ${layer} | tar t`)).toEqual(
    expect.arrayContaining(['./srv/one', './var/www/.wh.index.html']),
  );
  expect(sh(`tar xOf "$0" ${layer} | sha256sum`)[0]).toContain(layer.slice('layers/'.length, -'.tar'.length));
  expect(statSync(tar).mode & 0o777).toBe(0o600);
  // As image load, and with it skopeo, has it.
  expect(over('image', 'load', '-i', tar)).toBe('base\n');
  expect(over('run', '--rm', 'x', '--', 'cat', '/var/www/index.html')).toBe('minict\n');
});

test('containers that share layers do so there; what is there is not written again', async () => {
  ok('create', 'web1', '--no-network');
  ok('exec', 'web1', 'sh', '-c', 'dd if=/dev/urandom of=/big bs=1M count=4 2>/dev/null');
  ok('stop', 'web1');
  ok('clone', 'web1', 'web2');
  ok('exec', 'web2', 'sh', '-c', 'echo two >/two');
  for (const name of ['web1', 'web2']) await move(hosts.here, [name], hosts.there);
  await move(hosts.here, ['web1'], hosts.there, ['--name', 'again']);
  const [layer, ...others] = readdirSync(join(hosts.there.root, 'layers'));
  expect(others).toEqual([]);
  const inode = statSync(join(hosts.there.root, 'layers', layer as string, 'big')).ino;
  over('start', 'web1', 'web2', 'again');
  const sums = ['web1', 'web2', 'again'].map((name) => over('exec', name, 'md5sum', '/big'));
  expect(new Set([...sums, ok('exec', 'web2', 'md5sum', '/big')]).size).toBe(1);
  expect(over('exec', 'web2', 'cat', '/two')).toBe('two\n');
  over('rm', '-f', 'web1', 'web2');
  await move(hosts.here, ['web2'], hosts.there);
  expect(statSync(join(hosts.there.root, 'layers', layer as string, 'big')).ino).toBe(inode);
  // And back again: there it has got a snapshot.
  over('snapshot', 'create', 'again', 'b');
  ok('rm', '-f', 'web1');
  await move(hosts.there, ['again'], hosts.here, ['--name', 'web1', '--start']);
  expect(ok('exec', 'web1', 'md5sum', '/big')).toBe(sums[0]);
  expect(ok('snapshot', 'ls', '-q', 'web1')).toBe('b\n');
});

test('the image, or whatever is there, may stay behind', async () => {
  ok('create', 'web1', '--no-network');
  ok('exec', 'web1', 'sh', '-c', 'echo one >/one');
  ok('stop', 'web1');
  ok('snapshot', 'create', 'web1', 'a');
  const image = JSON.parse(ok('inspect', 'web1'))[0].imageId;
  const refused = await pipe(hosts.here, ['web1', '--without-image'], hosts.there, []);
  expectRefused(refused.loaded, new RegExp(`image ${image} is neither in it nor here\\nhint: .*--without-image`));
  await move(hosts.here, ['web1'], hosts.there);
  const size = (...words: string[]) => {
    ok('save-container', 'web1', '-o', join(hosts.here.dir, 'part.tar'), ...words);
    return statSync(join(hosts.here.dir, 'part.tar')).size;
  };
  const list = join(hosts.here.dir, 'list');
  writeFileSync(list, over('load-container', '--list-have'));
  expect(readFileSync(list, 'utf8')).toContain(image);
  const [whole, alone, rest] = [size(), size('--without-image'), size('--have', list)] as [number, number, number];
  expect(whole).toBeGreaterThan(1 << 20);
  expect(alone).toBeLessThan(64 << 10);
  expect(rest).toBeLessThan(alone);
  over('rm', 'web1');
  // Its layer has gone with it.
  expectRefused(
    hosts.there.minict('load-container', '-i', join(hosts.here.dir, 'part.tar')),
    /layer sha256:\S+ is neither in it nor here/,
  );
  await move(hosts.here, ['web1', '--without-image'], hosts.there, ['--name', 'web2']);
  await move(hosts.here, ['web1', '--have', list], hosts.there, ['--start']);
  expect(over('exec', 'web1', 'cat', '/one')).toBe('one\n');
  writeFileSync(list, 'nonsense\n');
  expectRefused(hosts.here.minict('save-container', 'web1', '--have', list), /"nonsense" is no digest/);
});

test('a directory in place, or used as an image, becomes layers', async () => {
  ok('create', 'for-base');
  const [inPlace, image] = ['in-place', 'image'].map((name) => join(hosts.here.dir, name)) as [string, string];
  for (const dir of [inPlace, image]) hosts.here.run(['cp', '-a', imageTree(hosts.here, 'base'), dir]);
  ok('create', 'web1', '--rootfs', inPlace, '--mounts', 'host');
  ok('create', 'web2', '--image', image, '--no-network');
  ok('exec', 'web1', 'sh', '-c', 'echo one >/one; rm /var/www/index.html');
  expectRefused(
    hosts.here.minict('save-container', 'web1', '-o', '/dev/null'),
    /mounts are in its files.*\nhint: minict stop web1/,
  );
  ok('stop', 'web1');
  const { saved, loaded } = await pipe(hosts.here, ['web1'], hosts.there, ['--start']);
  expect(saved).toEqual({
    status: 0,
    stdout: '',
    stderr: `minict: the files of web1 are in ${inPlace} itself: where it is loaded, they are under a layer of its own\n`,
  });
  expect(loaded).toEqual({ status: 0, stdout: 'web1\n', stderr: '' });
  expect(treeFacts(hosts.here, inPlace, MOUNTED)).toEqual(
    treeFacts(hosts.there, join(hosts.there.root, 'containers/web1/rootfs'), MOUNTED),
  );
  over('exec', 'web1', 'rm', '/one');
  over('snapshot', 'create', 'web1', 'a');
  over('commit', 'web1', 'lab:1');
  expect(over('run', '--rm', 'x', '--image', 'lab:1', '--', 'sh', '-c', 'ls /one 2>/dev/null; ls /bin/sh')).toBe(
    '/bin/sh\n',
  );
  expect(await move(hosts.here, ['web2'], hosts.there, ['--start'])).toBe('web2');
  expect(over('exec', 'web2', 'cat', '/var/www/index.html')).toBe('minict\n');
  expect(hosts.there.run(['ip', '-n', 'web2', 'link', 'show', 'eth0']).status).not.toBe(0);
  const withIp = await pipe(hosts.here, ['web2'], hosts.there, ['--name', 'x', '--ip', '192.168.0.9']);
  expectRefused(withIp.loaded, /--ip 192\.168\.0\.9, but web2 has no network/);
});
