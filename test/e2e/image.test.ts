/**
 * Images by the real binary: what an import keeps, what it refuses, and that a refused or killed one leaves nothing.
 * Archives come from GNU tar where it can make them; hostile ones are written here, header by header.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { removeStaleImages } from '../../src/image/store.ts';
import { Host, MINICT, type Result } from '../helpers/host.ts';

interface Member {
  readonly name: string;
  readonly flag?: string;
  readonly target?: string;
  readonly content?: string;
}

const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`;

function member({ name, flag = '0', target = '', content = '' }: Member): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0, 100, 'latin1');
  header.write(octal(flag === '5' ? 0o755 : 0o644, 8) + octal(0, 8) + octal(0, 8), 100, 'latin1');
  header.write(octal(content.length, 12) + octal(1, 12) + ' '.repeat(8) + flag, 124, 'latin1');
  header.write(target, 157, 100, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  header.write(
    octal(
      header.reduce((sum, byte) => sum + byte, 0),
      7,
    ),
    148,
    'latin1',
  );
  return Buffer.concat([header, Buffer.from(content.padEnd(Math.ceil(content.length / 512) * 512, '\0'), 'latin1')]);
}

function archive(...members: Member[]): Buffer {
  return Buffer.concat([...members.map(member), Buffer.alloc(1024)]);
}

function pax(key: string, value: string, flag = 'x'): Member {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length;
  return { name: 'pax', flag, content: `${length}${rest}` };
}

let host: Host;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  dir = join(host.root, 'work', 'here');
  mkdirSync(dir, { recursive: true });
});
afterAll(() => host.destroy());

const images = () => (existsSync(join(host.root, 'images')) ? readdirSync(join(host.root, 'images')) : []).sort();

/** Refused, in one line, with no trace. */
function expectRefused(result: Result, message: RegExp): void {
  expect(result).toMatchObject({ status: 125, stdout: '' });
  expect(result.stderr).toMatch(message);
  expect(result.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('hint: '))).toHaveLength(1);
}

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

describe('import', () => {
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
    const rootfs = join(host.root, 'images', file, 'rootfs');
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
          join(host.root, 'images', name, 'rootfs'),
        ]),
      ).toEqual({ status: 0, stdout: '', stderr: '' });
    }
    writeFileSync(
      join(dir, 'absolute.tar'),
      archive({ name: `${dir}/escaped`, content: 'x' }, { name: 'l', flag: '1', target: `${dir}/escaped` }),
    );
    expect(host.minict('image', 'import', join(dir, 'absolute.tar'), 'absolute').stdout).toBe('absolute\n');
    expect(readFileSync(join(host.root, 'images', 'absolute', 'rootfs', dir, 'escaped'), 'utf8')).toBe('x');
    expect(existsSync(join(dir, 'escaped'))).toBe(false);
  });

  test.each<[string, () => Member[], RegExp]>([
    ['dots', () => [{ name: 'a/../../evil' }], /member a\/\.\.\/\.\.\/evil leads out/],
    ['dots by pax', () => [pax('path', '../../evil'), { name: 'ok' }], /member \.\.\/\.\.\/evil leads out/],
    [
      'dots by a sparse name',
      () => [pax('GNU.sparse.name', '../../evil'), { name: 'ok' }],
      /\.\.\/\.\.\/evil leads out/,
    ],
    ['dots by pax for all', () => [pax('path', '../../evil', 'g'), { name: 'ok' }], /\.\.\/\.\.\/evil/],
    [
      'dots by a GNU name',
      () => [{ name: 'x', flag: 'L', content: '../../evil\0' }, { name: 'ok' }],
      /\.\.\/evil leads out/,
    ],
    ['dots of a folder', () => [{ name: '../../evil/', flag: '5' }], /member \.\.\/\.\.\/evil\/ leads out/],
    [
      'through a symlink',
      () => [{ name: 'd', flag: '2', target: dir }, { name: 'd/evil' }],
      /member d\/evil .*symlink/,
    ],
    [
      'a folder over a symlink',
      () => [{ name: 'd', flag: '2', target: dir }, { name: './d/', flag: '5' }, { name: 'd/evil' }],
      /member \.\/d\/ .*symlink/,
    ],
    [
      'through a second name of a symlink',
      () => [{ name: 'd', flag: '2', target: dir }, { name: 'e', flag: '1', target: 'd' }, { name: 'e/evil' }],
      /member e\/evil .*symlink/,
    ],
    [
      'hard link by dots',
      () => [{ name: 'l', flag: '1', target: '../../work/here/victim' }],
      /member l is a hard link/,
    ],
    [
      'hard link by pax',
      () => [pax('linkpath', '../../work/here/victim'), { name: 'l', flag: '1', target: 'ok' }],
      /member l is a hard/,
    ],
    [
      'hard link through a symlink',
      () => [
        { name: 'd', flag: '2', target: dir },
        { name: 'l', flag: '1', target: 'd/victim' },
      ],
      /member l .*symlink/,
    ],
    [
      'a header in the data of a folder',
      () => [{ name: 'd/', flag: '5', content: member({ name: '../../evil' }).toString('latin1') }],
      /member d\/ has content/,
    ],
  ])('refuses %s', (_, members, message) => {
    writeFileSync(join(dir, 'victim'), 'safe');
    writeFileSync(join(dir, 'hostile.tar'), archive({ name: 'first', content: 'x' }, ...members()));
    const before = images();
    const here = readdirSync(dir);
    expectRefused(host.minict('image', 'import', join(dir, 'hostile.tar'), 'hostile'), message);
    expect(images()).toEqual(before);
    expect(readdirSync(dir)).toEqual(here);
    expect(existsSync(join(host.root, 'evil'))).toBe(false);
    expect(statSync(join(dir, 'victim')).nlink).toBe(1);
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

  test('a full disk is named, and nothing is left on it', () => {
    const small = join(dir, 'small');
    mkdirSync(small);
    writeFileSync(join(dir, 'big.tar'), archive({ name: 'big', content: 'x'.repeat(6 << 20) }));
    const script =
      'mount -t tmpfs -o size=3m small "$1"; MINICT_ROOT="$1" "$2" --run-dir /run/small image import "$3" big; echo $?; ls -A "$1/images"';
    const result = host.run(['sh', '-c', script, 'sh', small, MINICT, join(dir, 'big.tar')]);
    expect(result.stderr).toMatch(
      /^minict: cannot import .*big\.tar: no space left on the disk of .*\nhint: df -h .*\n$/,
    );
    expect(result.stdout).toBe('125\n');
  });

  test('a killed import leaves no image, and its folder only until the next sweep', async () => {
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
    const roots = { root: host.root, runDir: '/run/minict' };
    expect(removeStaleImages(roots)).toEqual([]);
    expect(added()).toHaveLength(2);
    child.kill('SIGKILL');
    await child.exited;
    host.run(['sh', '-c', `: >${join(dir, 'slow')}`]);
    expect(host.minict('image', 'ls', '-q').stdout).not.toContain('killed');
    // tar holds the lock until it has seen the end of its input.
    for (let tries = 0; tries < 500 && removeStaleImages(roots, true).length === 0; tries += 1) await Bun.sleep(10);
    const folder = added().find((name) => !name.endsWith('.lock')) as string;
    expect(removeStaleImages(roots, true)).toEqual([join(host.root, 'images', folder)]);
    expect(added()).toHaveLength(2);
    expect(removeStaleImages(roots)).toEqual([join(host.root, 'images', folder)]);
    expect(images()).toEqual(before);
  });
});

describe('--image', () => {
  test('a tarball is imported once under its file name; rm of a used image names its container', () => {
    host.minict('create', 'based');
    const base = join(host.root, 'images', 'base', 'rootfs');
    host.run(['tar', '-cf', join(dir, 'lab.tar'), '-C', base, '.']);
    for (const name of ['one', 'two']) {
      const result = host.run(['sh', '-c', 'cd "$1" && "$2" create "$3" --image ./lab.tar', 'sh', dir, MINICT, name]);
      expect(result).toEqual({ status: 0, stdout: `${name}\n`, stderr: '' });
    }
    expect(images().filter((name) => name.startsWith('lab'))).toEqual(['lab']);
    expectRefused(host.minict('image', 'rm', 'lab'), /image lab: used by one, two/);
    expect(host.minict('exec', 'one', 'sh', '-c', 'ping -c1 -W2 two >/dev/null && echo yes').stdout).toBe('yes\n');
    expect(host.minict('rm', '-f', 'one', 'two', 'based').status).toBe(0);
    expect(host.minict('image', 'rm', 'lab').stdout).toBe('lab\n');
    expect(images()).not.toContain('lab');
  });

  test('a folder is used in place and stays as it is; base is a recipe, too', () => {
    const recipe = join(process.cwd(), 'images', 'base');
    expect(host.minict('image', 'build', recipe, 'built')).toEqual({ status: 0, stdout: 'built\n', stderr: '' });
    const rootfs = join(dir, 'rootfs');
    host.run(['cp', '-a', join(host.root, 'images', 'built', 'rootfs'), rootfs]);
    const listing = () => host.run(['find', rootfs, '-printf', '%p %m %s %T@ %C@\n']).stdout;
    const before = listing();
    expect(host.minict('create', 'inplace', '--image', rootfs).stdout).toBe('inplace\n');
    const script = 'echo new >/etc/new && echo more >>/etc/passwd && rm /var/www/index.html && cat /etc/new';
    expect(host.minict('exec', 'inplace', 'sh', '-c', script).stdout).toBe('new\n');
    expect(host.minict('rm', 'inplace').status).toBe(0);
    expect(listing()).toBe(before);
  });
});

describe('build', () => {
  test('puts files, runs lines in the tree, and leaves nothing when one fails', () => {
    const recipe = join(dir, 'recipe');
    mkdirSync(recipe);
    writeFileSync(join(recipe, 'page'), 'page\n');
    const write = (value: unknown) => writeFileSync(join(recipe, 'recipe.json'), JSON.stringify(value));
    write({
      from: 'busybox',
      files: { page: '/srv/deep/page' },
      run: ['cat /srv/deep/page >/copy', 'ls /proc/1/cwd >/seen'],
    });
    expect(host.minict('image', 'build', recipe, 'own')).toEqual({ status: 0, stdout: 'own\n', stderr: '' });
    expect(readFileSync(join(host.root, 'images', 'own', 'rootfs', 'copy'), 'utf8')).toBe('page\n');
    expect(readFileSync(join(host.root, 'images', 'own', 'rootfs', 'seen'), 'utf8')).toContain('srv');
    const before = images();
    const refused = (value: unknown, message: RegExp) => {
      write(value);
      expectRefused(host.minict('image', 'build', recipe, 'bad'), message);
    };
    refused({ from: 'busybox', run: ['echo broken >&2; false'] }, /broken/);
    refused({ from: 'busybox', files: { '../victim': '/x' } }, /outside of the recipe/);
    refused({ from: 'busybox', files: { page: '/../x' } }, /no absolute path/);
    refused({ from: 'busybox', files: { page: '/bin/sh' } }, /is a symlink in the image/);
    refused({ from: 'scratch' }, /recipe\.json/);
    refused({ debootstrap: { suite: '--help' } }, /suite: not the name of a Debian suite/);
    symlinkSync('/etc/passwd', join(recipe, 'link'));
    refused({ from: 'busybox', files: { link: '/x' } }, /outside of the recipe/);
    expect(images()).toEqual(before);
  });
});
