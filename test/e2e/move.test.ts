/** A container goes from one host to another, with its files, settings, snapshots and image. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Host } from '../helpers/host.ts';
import { imageNames, storeFiles } from '../helpers/images.ts';
import { eth0Of } from '../helpers/links.ts';
import { filesOf, move, scriptIn } from '../helpers/move.ts';

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
