/**
 * Import of a directory or a tarball. Tarballs are untrusted: member names with `..` are refused, and GNU tar itself
 * never writes through a symlink that leads out (it delays such links). Nothing shows before the last rename.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { ConflictError, firstLine, HostError, InvalidInputError, NotFoundError } from '../errors.ts';
import { writeJson } from '../state/json-file.ts';
import { imagePaths, type Roots } from '../state/paths.ts';
import { findImage, type Image, parseImageName, removeTree } from './store.ts';

async function tool(what: string, argv: readonly string[]): Promise<string> {
  const [file, ...args] = argv;
  const result = await execa(file ?? '', args, { env: { LC_ALL: 'C' }, reject: false, maxBuffer: 1 << 30 });
  if (result.failed) throw new InvalidInputError(`cannot ${what}: ${firstLine(result.stderr) || result.shortMessage}`);
  return result.stdout;
}

async function unpack(tarball: string, dir: string): Promise<void> {
  const members = await tool(`read ${tarball}`, ['tar', '--list', '--quoting-style=escape', '-P', '-f', tarball]);
  for (const member of members.split('\n')) {
    if (member.split('/').includes('..')) {
      throw new InvalidInputError(`cannot import ${tarball}: member ${member} leads out of the image`);
    }
  }
  if (members.trim() === '') throw new InvalidInputError(`cannot import ${tarball}: the archive is empty`);
  await tool(`unpack ${tarball}`, [
    ...['tar', '--extract', '--file', tarball, '--directory', dir, '--numeric-owner', '--same-owner'],
    ...['--preserve-permissions', '--xattrs', '--xattrs-include=*', '--delay-directory-restore'],
  ]);
}

/** Makes image `name` by `fill`, which gets an empty rootfs directory; all or nothing. */
export async function publishImage(
  roots: Roots,
  name: string,
  source: string,
  fill: (rootfs: string) => Promise<void>,
): Promise<Image> {
  const paths = imagePaths(roots, parseImageName(name));
  if (findImage(roots, name) !== undefined) {
    throw new ConflictError(`cannot import ${source}: image ${name} is there`, { hint: `minict image rm ${name}` });
  }
  const temporary = join(roots.root, 'images', `.new-${randomBytes(6).toString('hex')}`);
  mkdirSync(join(temporary, 'rootfs'), { recursive: true, mode: 0o755 });
  try {
    await fill(join(temporary, 'rootfs'));
    writeJson(join(temporary, 'image.json'), { version: 1, name, source, createdAt: new Date().toISOString() });
    renameSync(temporary, paths.dir);
  } catch (error) {
    removeTree(temporary);
    // Another one was quicker: rename(2) does not replace a folder that has something in it.
    if ((error as NodeJS.ErrnoException).code === 'ENOTEMPTY') {
      const image = findImage(roots, name);
      if (image !== undefined) return image;
    }
    throw error;
  }
  return { name, rootfs: paths.rootfs };
}

export async function importImage(roots: Roots, source: string, name: string): Promise<Image> {
  const stat = statSync(source, { throwIfNoEntry: false });
  if (stat === undefined) throw new NotFoundError(`cannot import ${source}: no such file or directory`);
  if (stat.isDirectory() && readdirSync(source).length === 0) {
    throw new InvalidInputError(`cannot import ${source}: the directory is empty`);
  }
  if (!stat.isDirectory() && !stat.isFile()) throw new HostError(`cannot import ${source}: neither file nor directory`);
  return publishImage(roots, name, source, async (rootfs) => {
    if (stat.isFile()) await unpack(source, rootfs);
    else await tool(`copy ${source}`, ['cp', '-a', '--reflink=auto', '--', `${source}/.`, rootfs]);
  });
}
