/** The guest's disks: Debian, kept until its recipe changes, and this tree as it is now. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { makeInitrd } from '../helpers/initrd.ts';
import { FILES, LINKS, PACKAGES, RECIPE_KEY, SUITE } from './recipe.ts';

/** Where bin/prepare.sh keeps such things. */
const KEPT = '/usr/local/lib/minict/vm';

/** What the kernel needs to get at its disk; the rest it loads from there. */
const MODULES = ['virtio_pci', 'virtio_blk'];

function run(argv: readonly string[]): string {
  const { exitCode, stdout } = Bun.spawnSync([...argv], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (exitCode !== 0) throw new Error(`${argv[0]} failed with exit status ${exitCode}`);
  return stdout.toString();
}

/** ext4 in a file with holes, which takes what is in it. */
function makeDisk(tree: string, path: string, megabytes: number): void {
  run(['mke2fs', '-q', '-t', 'ext4', '-E', 'root_owner=0:0', '-d', tree, path, `${megabytes}M`]);
}

function makeTree(tree: string): void {
  const without = ['doc', 'man', 'locale'].map((dir) => `--dpkgopt=path-exclude=/usr/share/${dir}/*`);
  const words = ['--quiet', '--mode=root', '--variant=minbase', '--format=directory', ...without];
  run(['mmdebstrap', ...words, `--include=${PACKAGES.join(',')}`, SUITE, tree]);
  for (const [path, content] of Object.entries(FILES)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    rmSync(join(tree, path), { force: true });
    writeFileSync(join(tree, path), content);
  }
  for (const [path, target] of Object.entries(LINKS)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    symlinkSync(target, join(tree, path));
  }
  mkdirSync(join(tree, 'srv/minict'));
}

/** In the order in which they need each other. */
function moduleFiles(tree: string): string[] {
  const [release = ''] = readdirSync(join(tree, 'lib/modules'));
  const words = ['--show-depends', '--dirname', tree, '--set-version', release];
  const lines = MODULES.flatMap((module) => run(['modprobe', ...words, module]).split('\n'));
  return [...new Set(lines.flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? []))];
}

const SWITCH_ROOT = `mkdir /system
mount -t ext4 /dev/vda /system
mount -o move /dev /system/dev
umount /proc /sys
exec switch_root /system /sbin/init`;

/** Files in a folder: `disk`, `vmlinuz`, `initrd`. Made where it is not there yet, which takes minutes. */
export function systemDisk(): string {
  const dir = join(KEPT, RECIPE_KEY);
  if (existsSync(dir)) return dir;
  console.log(`vm: making ${dir}`);
  rmSync(KEPT, { recursive: true, force: true });
  mkdirSync(KEPT, { recursive: true });
  const scratch = mkdtempSync(join(KEPT, 'new-'));
  try {
    const [tree, made] = [join(scratch, 'tree'), join(scratch, 'made')];
    mkdirSync(made);
    makeTree(tree);
    cpSync(join(tree, 'vmlinuz'), join(made, 'vmlinuz'), { dereference: true });
    renameSync(makeInitrd(join(scratch, 'initrd'), moduleFiles(tree), SWITCH_ROOT), join(made, 'initrd'));
    makeDisk(tree, join(made, 'disk'), 4096);
    renameSync(made, dir);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return dir;
}

const TREE = ['README.md', 'bin', 'dist', 'images', 'node_modules', 'package.json', 'src', 'test', 'vitest.config.ts'];

/** Checkers, which run no test, are most of node_modules. */
const isLeftOut = (path: string) => /\/node_modules\/(@biomejs|@typescript|typescript|bun-types)$/.test(path);

/** What tests boot in a container, as bin/prepare.sh makes it. */
const DEBIAN = '/usr/local/lib/minict/debian.tar';

/** A disk with what the tests need of this tree, that Debian, and the words for the tests, a line each. */
export function treeDisk(path: string, words: readonly string[]): void {
  const tree = mkdtempSync(join(tmpdir(), 'minict-vm-'));
  try {
    for (const name of TREE) {
      cpSync(name, join(tree, name), {
        recursive: true,
        verbatimSymlinks: true,
        filter: (from) => !isLeftOut(`/${from}`),
      });
    }
    cpSync(DEBIAN, join(tree, 'debian.tar'));
    writeFileSync(join(tree, 'words'), words.map((word) => `${word}\n`).join(''));
    makeDisk(tree, path, 1024);
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}
