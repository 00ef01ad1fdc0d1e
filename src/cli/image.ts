/** minict image: the store's verbs. What only one of them needs is loaded with it. */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { ensureState } from '../state/store.ts';
import { print } from './output.ts';
import type { Define } from './program.ts';
import { eachName } from './report.ts';

export const define: Define = (command, globals) => {
  /** Of a verb that may be the first in a new state folder. */
  const store = (verb: string) => {
    requireRoot(`image ${verb}`);
    const context = contextFrom(globals());
    ensureState(context.roots);
    return context;
  };
  command
    .command('import <source> <name>')
    .description('a directory or a tarball (plain, gzip, xz, zstd), - for standard input')
    .action(async (source: string, name: string) => {
      const { roots } = store('import');
      await (await import('../image/import.ts')).importImage(roots, source, name);
      print(`${name}\n`);
    });
  command
    .command('build <recipe-dir> <name>')
    .description('a folder with a recipe.json')
    .option('--suite <suite>', "Debian suite, instead of the recipe's")
    .action(async (dir: string, name: string, options: { suite?: string }) => {
      const { roots } = store('build');
      const { buildImage } = await import('../image/recipe.ts');
      await buildImage(roots, dir, name, { ...options, progress: process.stderr.isTTY });
      print(`${name}\n`);
    });
  command
    .command('pull <source> [name]')
    .description('from where skopeo reads: docker://HOST/NAME:TAG, docker-archive:, oci:, oci-archive:, dir:, …')
    .option('--authfile <file>', "skopeo's, in place of containers-auth.json(5)'s")
    .option('--tls-verify <bool>', 'false for a registry without a certificate of its name')
    .option('-q, --quiet', 'no progress')
    .action(async (source: string, name: string | undefined, options: TransferFlags) => {
      const { roots } = store('pull');
      const { pullImage } = await import('../image/transfer.ts');
      print(`${await pullImage(roots, source, name, transferOptions(options))}\n`);
    });
  command
    .command('push <image> <destination>')
    .description('to where skopeo writes')
    .option('--authfile <file>', "skopeo's, in place of containers-auth.json(5)'s")
    .option('--tls-verify <bool>', 'false for a registry without a certificate of its name')
    .option('-q, --quiet', 'no progress')
    .action(async (ref: string, destination: string, options: TransferFlags) => {
      const { roots } = store('push');
      await (await import('../image/transfer.ts')).pushImage(roots, ref, destination, transferOptions(options));
      print(`${ref}\n`);
    });
  command
    .command('save <image>')
    .description('as a tarball that docker load and podman load take')
    .option('-o, --output <file>', 'in place of standard output')
    .option('--format <format>', 'docker-archive or oci-archive', 'docker-archive')
    .action(async (ref: string, options: { output?: string; format: string }) => {
      const { roots } = store('save');
      await (await import('../image/archive.ts')).saveImage(roots, ref, options.output, options.format);
    });
  command
    .command('load')
    .description('what docker save, podman save or image save made')
    .option('-i, --input <file>', 'in place of standard input')
    .action(async (options: { input?: string }) => {
      const { roots } = store('load');
      for (const name of await (await import('../image/archive.ts')).loadImages(roots, options.input))
        print(`${name}\n`);
    });
  command
    .command('ls')
    .alias('list')
    .description('list images')
    .option('-q, --quiet', 'names only')
    .option('-a, --all', 'those too whose name another one has now')
    .option('--format <format>', 'table or json', 'table')
    .action(async (options: { quiet?: boolean; all?: boolean; format: string }) => {
      const { roots } = store('ls');
      await (await import('./image-view.ts')).list(roots, options);
    });
  command
    .command('inspect <image...>')
    .description('all that is known of images, as JSON')
    .action(async (refs: string[]) => (await import('./image-view.ts')).inspect(store('inspect').roots, refs));
  command
    .command('history <image>')
    .description('the layers of an image, the newest first')
    .option('--format <format>', 'table or json', 'table')
    .action(async (ref: string, options: { format: string }) => {
      await (await import('./image-view.ts')).history(store('history').roots, ref, options.format);
    });
  command
    .command('df')
    .description('what the store takes of the disk')
    .action(async () => (await import('./image-view.ts')).diskUse(store('df')));
  command
    .command('tag <image> <name>')
    .description('another name for an image')
    .action(async (ref: string, name: string) => {
      await (await import('../image/tag.ts')).tagImage(store('tag').roots, ref, name);
      print(`${name}\n`);
    });
  command
    .command('rm <image...>')
    .description('remove images that no container uses')
    .action(async (refs: string[]) => {
      const context = store('rm');
      const { removeImage } = await import('../lifecycle/images.ts');
      await eachName(refs, async (ref) => {
        await removeImage(context, ref);
        return ref;
      });
    });
  command
    .command('prune')
    .description('remove images without a name that no container uses')
    .option('-a, --all', 'those with a name, too')
    .option('--dry-run', 'only list them')
    .action(async (options: { all?: boolean; dryRun?: boolean }) => {
      const { pruneImages } = await import('../lifecycle/images.ts');
      const names = await pruneImages(store('prune'), options.all ?? false, options.dryRun ?? false);
      print(names.map((name) => `${name}\n`).join(''));
    });
};

interface TransferFlags {
  readonly authfile?: string;
  readonly tlsVerify?: string;
  readonly quiet?: boolean;
}

function transferOptions({ authfile, tlsVerify, quiet }: TransferFlags) {
  return { authfile, tlsVerify: tlsVerify !== 'false', progress: process.stderr.isTTY && quiet !== true };
}
