/** minict image import|build|ls|rm. Recipes are loaded with the verb that needs them, as every other verb is. */
import { findImage, type Image, imageNames, retireImage } from '../image/store.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { lockImages } from '../state/locks.ts';
import { ensureState, getContainer, listContainers } from '../state/store.ts';
import { removeTree } from '../state/trash.ts';
import { print, table } from './output.ts';
import type { Define } from './program.ts';
import { eachName, reportError } from './report.ts';

export const define: Define = (command, globals) => {
  command
    .command('import <source> <name>')
    .description('a directory or a tarball (plain, gzip, xz, zstd)')
    .action(async (source: string, name: string) => {
      requireRoot('image import');
      const context = contextFrom(globals());
      ensureState(context.roots);
      const { importImage } = await import('../image/import.ts');
      await importImage(context.roots, source, name);
      print(`${name}\n`);
    });
  command
    .command('build <recipe-dir> <name>')
    .description('a folder with a recipe.json')
    .option('--suite <suite>', "Debian suite, instead of the recipe's")
    .action(async (dir: string, name: string, options: { suite?: string }) => {
      requireRoot('image build');
      const context = contextFrom(globals());
      ensureState(context.roots);
      const { buildImage } = await import('../image/recipe.ts');
      await buildImage(context.roots, dir, name, { ...options, progress: process.stderr.isTTY });
      print(`${name}\n`);
    });
  command
    .command('ls')
    .description('list images')
    .option('-q, --quiet', 'names only')
    .action(async (options: { quiet?: boolean }) => {
      requireRoot('image ls');
      const { roots } = contextFrom(globals());
      const images: Image[] = [];
      for (const name of imageNames(roots)) {
        try {
          const image = await findImage(roots, name);
          if (image !== undefined) images.push(image);
        } catch (error) {
          process.exitCode = reportError(error);
        }
      }
      if (options.quiet) print(images.map((image) => `${image.name}\n`).join(''));
      else print(table([['NAME', 'ROOTFS'], ...images.map((image) => [image.name, image.rootfs])]));
    });
  command
    .command('rm <name...>')
    .description('remove images that no container uses')
    .action(async (names: string[]) => {
      requireRoot('image rm');
      const context = contextFrom(globals());
      await eachName(names, async (name) => {
        removeTree(await retire(context, name));
        return name;
      });
    });
};

/** No create takes it between the look at who uses it and its end. */
async function retire({ roots }: Context, name: string): Promise<string> {
  const lock = lockImages(roots, 'exclusive');
  try {
    const containers = await Promise.all(listContainers(roots).map((user) => getContainer(roots, user)));
    const users = containers.filter((spec) => spec.image === name).map((spec) => spec.name);
    return await retireImage(roots, name, users);
  } finally {
    lock.release();
  }
}
