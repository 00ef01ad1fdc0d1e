/** A container goes from one host to another, with its files, settings, snapshots and image. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { imageNames, imageTree, storeFiles } from '../helpers/images.ts';
import { eth0Of } from '../helpers/links.ts';
import { filesOf, move, pipe, scriptIn } from '../helpers/move.ts';
import { programsOf } from '../helpers/processes.ts';
import { MOUNTED, treeFacts } from '../helpers/tree-facts.ts';

let here: Host;
let there: Host;
beforeAll(async () => {
  here = await Host.create();
  there = await Host.create();
});
afterEach(() => {
  for (const host of [here, there]) {
    const names = host.minict('ps', '-a', '-q').stdout.split('\n').filter(Boolean);
    if (names.length > 0) host.minict('rm', '-f', ...names);
    host.minict('image', 'prune', '-a');
    host.minict('system', 'prune');
    expect(readdirSync(join(host.root, 'layers'))).toEqual([]);
    expect(storeFiles(host)).toEqual([]);
  }
});
afterAll(async () => {
  await here.destroy();
  await there.destroy();
});

const on =
  (host: () => Host) =>
  (...words: string[]) => {
    const result = host().minict(...words);
    expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
    return result.stdout;
  };
const ok = on(() => here);
const over = on(() => there);

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
    '--stop-signal',
    'INT',
    '--',
    'sleep',
    '9',
  );
  const [first = '', second = ''] = FIXTURE;
  scriptIn(here, 'web1', first);
  ok('stop', 'web1');
  ok('snapshot', 'create', 'web1', 'a');
  ok('start', 'web1');
  scriptIn(here, 'web1', second);
  const files = filesOf(here, 'web1');
  expect(files.length).toBeGreaterThan(300);
  ok('stop', '-t', '0', 'web1');
  expect(await move(here, ['web1'], there)).toBe('web1');
  expect(over('ps', '-a', '--format', 'json')).toContain('"state":"stopped"');
  expect(over('start', 'web1')).toBe('web1\n');
  expect(filesOf(there, 'web1')).toEqual(files);
  expect(over('exec', 'web1', 'sh', '-c', 'echo $A; pwd; id -u; hostname')).toBe('b c\n/srv\n1000\nweb1\n');
  const [mine, theirs] = [ok, over].map((minict) => JSON.parse(minict('inspect', 'web1'))[0]);
  for (const key of ['createdAt', 'command', 'env', 'user', 'workdir', 'stopSignal', 'labels', 'image', 'imageId']) {
    expect(theirs[key], key).toEqual(mine[key]);
  }
  expect(eth0Of(there, 'web1').addr_info[0]).toMatchObject({ local: mine.nic.address, prefixlen: 24 });
  expect(theirs.nic.mac).not.toBe(mine.nic.mac);
  expect(imageNames(there)).toEqual(['base']);
  over('snapshot', 'rollback', '-t', '0', 'web1', 'a');
  ok('snapshot', 'rollback', 'web1', 'a');
  ok('start', 'web1');
  // The root directory itself is a new one on each side.
  expect(filesOf(there, 'web1').slice(1)).toEqual(filesOf(here, 'web1').slice(1));
  expect(over('exec', 'web1', 'sh', '-c', 'ls /srv /var/www /srv/hidden')).toContain('below');
});

test('a running container: at one moment of it, and it goes on as it was', async () => {
  const script = 'while :; do echo x >>/a; echo x >>/b; done';
  ok('run', '-d', 'web1', '--no-network', '--', 'sh', '-c', script);
  const json = join(here.root, 'containers/web1/container.json');
  const before = { json: readFileSync(json, 'utf8'), programs: programsOf(here, 'web1') };
  for (const name of ['one', 'two', 'three']) {
    expect(await move(here, ['web1'], there, ['--name', name])).toBe(name);
    const size = (file: string) => statSync(join(there.root, 'containers', name, 'upper', file)).size;
    expect([0, 2]).toContain(size('a') - size('b'));
    expect(size('a')).toBeGreaterThan(0);
  }
  expect({ json: readFileSync(json, 'utf8'), programs: programsOf(here, 'web1') }).toEqual(before);
  expect(await move(here, ['web1'], there, ['--start'])).toBe('web1');
  expect(programsOf(there, 'web1')).toHaveLength(1);
});

test('what is read by others: a tar, tars of layers in it, and an archive of the image', () => {
  ok('create', 'web1');
  ok('exec', 'web1', 'sh', '-c', 'echo one >/srv/one; rm /var/www/index.html');
  ok('stop', 'web1');
  ok('snapshot', 'create', 'web1', 'a');
  const tar = join(here.dir, 'web1.tar');
  for (const _ of [1, 2]) ok('save-container', 'web1', '-o', tar);
  const sh = (script: string) => {
    const result = here.run(['sh', '-ec', script, tar]);
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
  for (const name of ['web1', 'web2']) await move(here, [name], there);
  await move(here, ['web1'], there, ['--name', 'again']);
  const [layer, ...others] = readdirSync(join(there.root, 'layers'));
  expect(others).toEqual([]);
  const inode = statSync(join(there.root, 'layers', layer as string, 'big')).ino;
  over('start', 'web1', 'web2', 'again');
  const sums = ['web1', 'web2', 'again'].map((name) => over('exec', name, 'md5sum', '/big'));
  expect(new Set([...sums, ok('exec', 'web2', 'md5sum', '/big')]).size).toBe(1);
  expect(over('exec', 'web2', 'cat', '/two')).toBe('two\n');
  over('rm', '-f', 'web1', 'web2');
  await move(here, ['web2'], there);
  expect(statSync(join(there.root, 'layers', layer as string, 'big')).ino).toBe(inode);
  // And back again: there it has got a snapshot.
  over('snapshot', 'create', 'again', 'b');
  ok('rm', '-f', 'web1');
  await move(there, ['again'], here, ['--name', 'web1', '--start']);
  expect(ok('exec', 'web1', 'md5sum', '/big')).toBe(sums[0]);
  expect(ok('snapshot', 'ls', '-q', 'web1')).toBe('b\n');
});

test('the image, or whatever is there, may stay behind', async () => {
  ok('create', 'web1', '--no-network');
  ok('exec', 'web1', 'sh', '-c', 'echo one >/one');
  ok('stop', 'web1');
  ok('snapshot', 'create', 'web1', 'a');
  const image = JSON.parse(ok('inspect', 'web1'))[0].imageId;
  const refused = await pipe(here, ['web1', '--without-image'], there, []);
  expectRefused(refused.loaded, new RegExp(`image ${image} is neither in it nor here\\nhint: .*--without-image`));
  await move(here, ['web1'], there);
  const size = (...words: string[]) => {
    ok('save-container', 'web1', '-o', join(here.dir, 'part.tar'), ...words);
    return statSync(join(here.dir, 'part.tar')).size;
  };
  const list = join(here.dir, 'list');
  writeFileSync(list, over('load-container', '--list-have'));
  expect(readFileSync(list, 'utf8')).toContain(image);
  const [whole, alone, rest] = [size(), size('--without-image'), size('--have', list)] as [number, number, number];
  expect(whole).toBeGreaterThan(1 << 20);
  expect(alone).toBeLessThan(64 << 10);
  expect(rest).toBeLessThan(alone);
  over('rm', 'web1');
  // Its layer has gone with it.
  expectRefused(
    there.minict('load-container', '-i', join(here.dir, 'part.tar')),
    /layer sha256:\S+ is neither in it nor here/,
  );
  await move(here, ['web1', '--without-image'], there, ['--name', 'web2']);
  await move(here, ['web1', '--have', list], there, ['--start']);
  expect(over('exec', 'web1', 'cat', '/one')).toBe('one\n');
  writeFileSync(list, 'nonsense\n');
  expectRefused(here.minict('save-container', 'web1', '--have', list), /"nonsense" is no digest/);
});

test('a directory in place, or used as an image, becomes layers', async () => {
  ok('create', 'for-base');
  const [inPlace, image] = ['in-place', 'image'].map((name) => join(here.dir, name)) as [string, string];
  for (const dir of [inPlace, image]) here.run(['cp', '-a', imageTree(here, 'base'), dir]);
  ok('create', 'web1', '--rootfs', inPlace, '--mounts', 'host');
  ok('create', 'web2', '--image', image, '--no-network');
  ok('exec', 'web1', 'sh', '-c', 'echo one >/one; rm /var/www/index.html');
  expectRefused(
    here.minict('save-container', 'web1', '-o', '/dev/null'),
    /mounts are in its files.*\nhint: minict stop web1/,
  );
  ok('stop', 'web1');
  const { saved, loaded } = await pipe(here, ['web1'], there, ['--start']);
  expect(saved).toEqual({
    status: 0,
    stdout: '',
    stderr: `minict: the files of web1 are in ${inPlace} itself: where it is loaded, they are under a layer of its own\n`,
  });
  expect(loaded).toEqual({ status: 0, stdout: 'web1\n', stderr: '' });
  expect(treeFacts(here, inPlace, MOUNTED)).toEqual(
    treeFacts(there, join(there.root, 'containers/web1/rootfs'), MOUNTED),
  );
  over('exec', 'web1', 'rm', '/one');
  over('snapshot', 'create', 'web1', 'a');
  over('commit', 'web1', 'lab:1');
  expect(over('run', '--rm', 'x', '--image', 'lab:1', '--', 'sh', '-c', 'ls /one 2>/dev/null; ls /bin/sh')).toBe(
    '/bin/sh\n',
  );
  expect(await move(here, ['web2'], there, ['--start'])).toBe('web2');
  expect(over('exec', 'web2', 'cat', '/var/www/index.html')).toBe('minict\n');
  expect(there.run(['ip', '-n', 'web2', 'link', 'show', 'eth0']).status).not.toBe(0);
  const withIp = await pipe(here, ['web2'], there, ['--name', 'x', '--ip', '192.168.0.9']);
  expectRefused(withIp.loaded, /--ip 192\.168\.0\.9, but web2 has no network/);
});

test('addresses: its own where that is free and fits, or the one asked for, or the next free one and a note', async () => {
  ok(
    'create',
    'web1',
    '--ip',
    '192.168.0.5',
    '--gateway',
    '192.168.0.7',
    '--mac-address',
    '02:00:00:00:00:55',
    '--mtu',
    '1400',
  );
  await move(here, ['web1'], there, ['--start']);
  const nic = (name: string) => JSON.parse(over('inspect', name))[0].nic;
  expect(nic('web1')).toMatchObject({ address: '192.168.0.5', gateway: '192.168.0.7', mac: '02:00:00:00:00:55' });
  expect(eth0Of(there, 'web1')).toMatchObject({ address: '02:00:00:00:00:55', mtu: 1400 });
  const taken = await pipe(here, ['web1'], there, ['--name', 'web2', '--start']);
  expect(taken.loaded).toEqual({
    status: 0,
    stdout: 'web2\n',
    stderr:
      'minict: web2 has the address 192.168.0.2: cannot use address 192.168.0.5: taken by container web1\n' +
      'minict: web2 has another MAC address: container web1 has 02:00:00:00:00:55\n',
  });
  expect(eth0Of(there, 'web2').addr_info[0]).toMatchObject({ local: '192.168.0.2' });
  expect(eth0Of(there, 'web2').address).not.toBe('02:00:00:00:00:55');
  expect(over('exec', 'web1', 'ping', '-c1', '-W2', 'web2')).toContain('1 packets received');
  const asked = await pipe(here, ['web1'], there, ['--name', 'web3', '--ip', '192.168.0.9']);
  expect(asked.loaded).toMatchObject({ status: 0, stdout: 'web3\n' });
  expect(nic('web3')).toMatchObject({ address: '192.168.0.9', mtuBytes: 1400 });
  expectRefused(
    (await pipe(here, ['web1'], there, ['--name', 'x', '--ip', '192.168.0.9'])).loaded,
    /taken by container web3/,
  );
  over('rm', '-f', 'web1', 'web2', 'web3');
  over('system', 'prune');
  over('create', 'other', '--ip', '10.1.0.2/16');
  const outside = await pipe(here, ['web1'], there, ['--start']);
  expect(outside.loaded).toEqual({
    status: 0,
    stdout: 'web1\n',
    stderr:
      'minict: web1 has the address 10.1.0.3: cannot use address 192.168.0.5: outside network minict0, 10.1.0.0/16\n' +
      'minict: web1 has the gateway 10.1.0.1: 192.168.0.7 is not one of the network here\n',
  });
  expect(over('exec', 'web1', 'ping', '-c1', '-W2', 'other')).toContain('1 packets received');
});

test('an image of the same name is another one: both are kept', async () => {
  over('create', 'mine', '--no-network');
  ok('create', 'web1', '--no-network');
  ok('exec', 'web1', 'sh', '-c', 'echo one >/one');
  ok('commit', 'web1', 'lab:1');
  ok('run', '-d', 'web2', '--image', 'lab:1', '--no-network', '--', 'sleep', '300');
  await move(here, ['web2'], there);
  await move(here, ['web1'], there);
  const id = (name: string, host: Host) => JSON.parse(host.minict('image', 'inspect', name).stdout)[0].id;
  expect(id('base', there)).not.toBe(id('base', here));
  expect(imageNames(there)).toEqual(['base', 'lab:1']);
  expect(id('lab:1', there)).toBe(id('lab:1', here));
  const unnamed = JSON.parse(over('image', 'ls', '-a', '--format', 'json')) as { id: string; name: string }[];
  expect(unnamed.map((image) => image.id)).toContain(id('base', here));
  const [web1, web2] = JSON.parse(over('inspect', 'web1', 'web2'));
  expect(web1).toMatchObject({ image: id('base', here), imageId: id('base', here) });
  expect(web2).toMatchObject({ image: 'lab:1' });
  expect(over('ps', '-a')).toMatch(new RegExp(`^web1 +stopped +${id('base', here).slice(7, 19)}$`, 'm'));
  expectRefused(there.minict('image', 'rm', 'lab:1'), /used by web2/);
  over('start', 'web1');
  expect(over('exec', 'web1', 'cat', '/one')).toBe('one\n');
});
