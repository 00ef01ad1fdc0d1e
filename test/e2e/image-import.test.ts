/** What an import keeps of a tree, and that one that fails, is killed or has company leaves nothing. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mountStateDisk } from '../helpers/disk.ts';
import { expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { imageNames, imageTree, storeFiles } from '../helpers/images.ts';
import { archive } from '../helpers/tar.ts';

let host: Host;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  dir = join(host.root, 'data', 'here');
  mkdirSync(dir, { recursive: true });
});
afterAll(() => host.destroy());

const images = () => storeFiles(host);

const FIXTURE = `cd "$1"; mkdir -p tree/dir tree/empty; cd tree; echo one >dir/one; ln dir/one two
ln -s /etc/passwd out; ln -s ../../../x up; ln up up2; mknod null c 1 3; mkfifo pipe
chown 12345:54321 dir/one; chmod 4751 dir/one; chmod 1777 empty; touch -d @86400 dir/one
echo long >"$(printf %0120d 7)"; truncate -s 3M hole; echo end >>hole; cp /bin/true cap
python3 -c 'import os
os.setxattr("two", "user.note", b"kept")
os.setxattr("cap", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
acl = "0200000001000600ffffffff02000400d204000004000400ffffffff10000400ffffffff20000000ffffffff" # u:1234:r
os.setxattr("empty", "system.posix_acl_access", bytes.fromhex(acl))'
cd ..; tar --acls --xattrs --xattrs-include='*' --sparse -cf plain.tar -C tree .; gzip -k plain.tar; xz -k plain.tar
zstd -q plain.tar; tar --format=gnu --sparse -cf gnu.tar -C tree .`;

beforeAll(() => {
  expect(host.run(['sh', '-ec', FIXTURE, 'sh', dir])).toEqual({ status: 0, stdout: '', stderr: '' });
});

const facts = (root: string) =>
  host.run([
    ...['python3', '-c'],
    `import os, sys
for top, folders, files in os.walk(sys.argv[1]):
  for name in sorted(folders + files):
      path = os.path.join(top, name); s = os.lstat(path)
      print(path[len(sys.argv[1]):], oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, s.st_size, s.st_rdev, int(s.st_mtime),
            os.readlink(path) if os.path.islink(path) else '',
            [(x, os.getxattr(path, x, follow_symlinks=False)) for x in sorted(os.listxattr(path, follow_symlinks=False))])`,
    root,
  ]).stdout;

test.each(['plain.tar', 'plain.tar.gz', 'plain.tar.xz', 'plain.tar.zst'])('%s keeps all that a tree has', (file) => {
  const result = host.minict('image', 'import', join(dir, file), file);
  expect(result).toEqual({ status: 0, stdout: `${file}\n`, stderr: '' });
  const rootfs = imageTree(host, file);
  const want = facts(join(dir, 'tree'));
  expect(want).toContain("('security.capability'");
  expect(want).toContain("('user.note', b'kept')");
  expect(want).toContain("('system.posix_acl_access'");
  expect(facts(rootfs).split('\n').sort()).toEqual(want.split('\n').sort());
  expect(statSync(join(rootfs, 'two')).ino).toBe(statSync(join(rootfs, 'dir/one')).ino);
});

test("GNU tar's own long names and sparse files; a folder; an absolute name loses its slash", () => {
  expect(host.minict('image', 'import', join(dir, 'gnu.tar'), 'gnu').stdout).toBe('gnu\n');
  expect(host.minict('image', 'import', join(dir, 'tree'), 'folder').stdout).toBe('folder\n');
  for (const name of ['gnu', 'folder']) {
    expect(
      host.run([
        'diff',
        '-r',
        '--no-dereference',
        '--exclude=null',
        '--exclude=pipe',
        join(dir, 'tree'),
        imageTree(host, name),
      ]),
    ).toEqual({ status: 0, stdout: '', stderr: '' });
  }
  writeFileSync(
    join(dir, 'absolute.tar'),
    archive({ name: `${dir}/escaped`, content: 'x' }, { name: 'l', flag: '1', target: `${dir}/escaped` }),
  );
  expect(host.minict('image', 'import', join(dir, 'absolute.tar'), 'absolute').stdout).toBe('absolute\n');
  expect(readFileSync(join(imageTree(host, 'absolute'), dir, 'escaped'), 'utf8')).toBe('x');
  expect(existsSync(join(dir, 'escaped'))).toBe(false);
});

test('refuses what is empty, damaged, cut short, or not there', () => {
  const whole = readFileSync(join(dir, 'plain.tar'));
  const files: Record<string, [Buffer, RegExp]> = {
    nothing: [Buffer.alloc(0), /the file is empty/],
    zeros: [Buffer.alloc(10240), /the archive is empty/],
    text: [Buffer.from('no archive\n'.repeat(100)), /no tar archive|damaged/],
    cut: [whole.subarray(0, 5000), /truncated/],
    bent: [Buffer.concat([whole.subarray(0, 20), Buffer.from('Z'), whole.subarray(21)]), /no tar archive|damaged/],
    gz: [readFileSync(join(dir, 'plain.tar.gz')).subarray(0, 900), /truncated.*gzip/],
  };
  mkdirSync(join(dir, 'void'));
  const before = images();
  for (const [name, [content, message]] of Object.entries(files)) {
    writeFileSync(join(dir, name), content);
    expectRefused(host.minict('image', 'import', join(dir, name), 'x'), message);
  }
  expectRefused(host.minict('image', 'import', join(dir, 'void'), 'x'), /the directory is empty/);
  expectRefused(host.minict('image', 'import', join(dir, 'nowhere'), 'x'), /no such file/);
  expectRefused(host.minict('image', 'import', join(dir, 'gnu.tar'), 'plain.tar'), /image plain\.tar exists already/);
  expect(images()).toEqual(before);
});

test('refuses archives of images and of containers, with what takes them', () => {
  const make = (...words: string[]) => expect(host.minict(...words)).toMatchObject({ status: 0 });
  make('create', 'c0');
  make('image', 'save', 'base', '-o', join(dir, 'docker.tar'));
  make('image', 'save', 'base', '--format', 'oci-archive', '-o', join(dir, 'oci.tar'));
  make('save-container', 'c0', '-o', join(dir, 'c0.tar'));
  make('rm', 'c0');
  host.run(['gzip', '-k', join(dir, 'docker.tar')]);
  for (const file of ['docker.tar', 'docker.tar.gz', 'oci.tar']) {
    const refusal = /it is an archive of images, and no root file system\nhint: minict image load -i \/.*tar/;
    expectRefused(host.minict('image', 'import', join(dir, file), 'x'), refusal);
  }
  expectRefused(host.minict('image', 'import', join(dir, 'c0.tar'), 'x'), /hint: minict load-container -i /);
});

test('a full disk is named, and nothing is left on it', () => {
  const small = join(dir, 'small');
  mkdirSync(small);
  writeFileSync(join(dir, 'big.tar'), archive({ name: 'big', content: 'x'.repeat(6 << 20) }));
  const script =
    'mount -t tmpfs -o size=3m small "$1"; MINICT_ROOT="$1" "$2" --run-dir /run/small image import "$3" big; echo $?; find "$1/images" -type f';
  const result = host.run(['sh', '-c', script, 'sh', small, MINICT, join(dir, 'big.tar')]);
  expect(result.stderr).toMatch(
    /^minict: cannot import .*big\.tar: no space left on the disk of .*\nhint: df -h .*\n$/,
  );
  expect(result.stdout).toBe('125\n');
});

test('a killed import leaves no image, and its folder only until the next import or sweep', async () => {
  host.run(['mkfifo', join(dir, 'slow')]);
  const before = images();
  // A gzip that never ends keeps the import at work: its data come from a pipe beside it.
  const bin = join(dir, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'gzip'), `#!/bin/sh\nhead -c 20480 ${dir}/plain.tar\nexec cat ${dir}/slow\n`, {
    mode: 0o755,
  });
  const child = host.spawn([
    'env',
    `PATH=${bin}:${process.env.PATH}`,
    MINICT,
    'image',
    'import',
    join(dir, 'plain.tar.gz'),
    'killed',
  ]);
  const added = () => images().filter((name) => !before.includes(name));
  for (let tries = 0; tries < 500 && added().length < 2; tries += 1) await Bun.sleep(10);
  expect(added()).toEqual([expect.stringMatching(/^\.new-[0-9a-f]+$/), expect.stringMatching(/^\.new-.*\.lock$/)]);
  const prune = (...words: string[]) => host.minict('system', 'prune', ...words).stdout;
  expect(prune()).not.toContain('image folder');
  expect(added()).toHaveLength(2);
  child.kill('SIGKILL');
  await child.exited;
  host.run(['sh', '-c', `: >${join(dir, 'slow')}`]);
  expect(host.minict('image', 'ls', '-q').stdout).not.toContain('killed');
  // tar holds the lock until it has seen the end of its input.
  expect(await eventually(() => prune('--dry-run').includes('image folder'))).toBe(true);
  const folder = added().find((name) => !name.endsWith('.lock')) as string;
  expect(prune('--dry-run')).toContain(`image folder ${join(host.root, 'images', folder)}\n`);
  expect(added()).toHaveLength(2);
  expect(host.minict('image', 'import', join(dir, 'plain.tar'), 'next').status).toBe(0);
  expect(added().filter((name) => name.startsWith('.new-'))).toEqual([]);
  expect(prune()).not.toContain('image folder');
});

test('imports of one tarball at once: one has the name; creates from it share one image', async () => {
  const tarball = join(dir, 'plain.tar.xz');
  const exits = (all: readonly ReturnType<Host['spawn']>[]) => Promise.all(all.map((child) => child.exited));
  const imports = [1, 2, 3].map(() => host.spawn([MINICT, 'image', 'import', tarball, 'once']));
  expect((await exits(imports)).sort()).toEqual([0, 125, 125]);
  const names = ['s1', 's2', 's3'];
  expect(await exits(names.map((name) => host.spawn([MINICT, 'create', name, '--image', tarball])))).toEqual([0, 0, 0]);
  expect(images().filter((name) => name.startsWith('.'))).toEqual([]);
  expect(imageNames(host).filter((name) => name === 'plain')).toEqual(['plain']);
  expect(host.minict('rm', ...names).status).toBe(0);
});

test('ext4 is told that layers are unrelated: it spreads them over the disk', async () => {
  const disk = await Host.create();
  try {
    mountStateDisk(disk, 'ext4', 64);
    expect(disk.minict('image', 'import', join(dir, 'tree'), 'lab')).toMatchObject({ status: 0, stderr: '' });
    expect(disk.run(['lsattr', '-d', join(disk.root, 'images')]).stdout).toMatch(/^\S*T\S* /);
  } finally {
    await disk.destroy();
  }
});
