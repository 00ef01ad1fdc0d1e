/** minict image: the store's verbs. What only one of them needs is loaded with it. */
import { isTerminal } from '../host/exec-calls.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import type { Roots } from '../state/paths.ts';
import { ensureState } from '../state/store.ts';
import { print } from './output.ts';
import { eachName, printProgress } from './report.ts';
import type { VerbCommand } from './verb-command.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  /** Of a verb that may be the first in a new state folder. */
  const store = (verb: string) => {
    requireRoot(`image ${verb}`);
    const context = contextFrom(globals());
    ensureState(context.roots);
    return context;
  };
  /** Of one that adds images: a failed one leaves none, and no part of one. */
  const adding = async <T>(verb: string, add: (roots: Roots) => Promise<T>): Promise<T> => {
    const context = store(verb);
    return (await import('../lifecycle/images.ts')).addImages(context, () => add(context.roots));
  };
  command
    .command('import <source> <name>')
    .description('a directory or a tarball (plain, gzip, xz, zstd, bzip2), - for standard input')
    .action(async (source: string, name: string) => {
      const { importImage } = await import('../image/import.ts');
      await adding('import', (roots) => importImage(roots, source, name));
      print(`${name}\n`);
    });
  command
    .command('build <folder> <name>')
    .description('by the recipe.yaml in a folder, or with buildah by its Dockerfile')
    .option('--suite <suite>', "Debian suite, instead of the recipe's")
    .option('--no-cache', 'make every step anew')
    .option('-q, --quiet', 'no progress')
    .action(async (dir: string, name: string, { suite, cache, quiet }: BuildFlags) => {
      const { buildImage } = await import('../image/build.ts');
      const say = isTerminal(2) && quiet !== true ? printProgress : undefined;
      await adding('build', (roots) => buildImage(roots, dir, name, { suite, fresh: !cache, say }));
      print(`${name}\n`);
    });
  addTransferOptions(command.command('pull <source> [name]'))
    .description('from where skopeo reads: docker://HOST/NAME:TAG, docker-archive:, oci:, oci-archive:, dir:, …')
    .action(async (source: string, name: string | undefined, options: TransferFlags) => {
      const { pullImage } = await import('../image/transfer.ts');
      print(`${await adding('pull', (roots) => pullImage(roots, source, name, transferOptions(options)))}\n`);
    });
  addTransferOptions(command.command('push <image> <destination>'))
    .description('to where skopeo writes')
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
      await (await import('../image/save.ts')).saveImage(roots, ref, options.output, options.format);
    });
  command
    .command('load')
    .description('what docker save, podman save or image save made')
    .option('-i, --input <file>', 'in place of standard input')
    .action(async (options: { input?: string }) => {
      const { loadImages } = await import('../image/load.ts');
      const names = await adding('load', (roots) => loadImages(roots, options.input));
      print(names.map((name) => `${name}\n`).join(''));
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
    .command('diff <from> <to>')
    .description('what one image has added (A), changed (C) and deleted (D) of another')
    .option('--format <format>', 'table or json', 'table')
    .action(async (from: string, to: string, { format }: { format: string }) => {
      await (await import('./image-view.ts')).diff(store('diff').roots, from, to, format);
    });
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
    .option('--dry-run', 'only say which ones, and whether they can be')
    .action(async (refs: string[], options: { dryRun?: boolean }) => {
      const context = store('rm');
      const { checkRemoval, removeImage } = await import('../lifecycle/images.ts');
      await eachName(refs, async (ref) => {
        await (options.dryRun ? checkRemoval : removeImage)(context, ref);
        return ref;
      });
    });
  command
    .command('prune')
    .description('remove images without a name that no container uses, and what builds keep besides')
    .option('-a, --all', 'those with a name, too')
    .option('--dry-run', 'only list them')
    .option('-f, --force', 'for scripts that docker would ask; minict never does')
    .action(async (options: { all?: boolean; dryRun?: boolean }) => {
      const { pruneImages } = await import('../lifecycle/images.ts');
      const names = await pruneImages(store('prune'), options.all ?? false, options.dryRun ?? false);
      print(names.map((name) => `${name}\n`).join(''));
    });
};

interface BuildFlags {
  readonly suite?: string;
  readonly cache: boolean;
  readonly quiet?: boolean;
}

interface TransferFlags {
  readonly authfile?: string;
  readonly tlsVerify?: 'true' | 'false';
  readonly quiet?: boolean;
}

function addTransferOptions(command: VerbCommand): VerbCommand {
  return command
    .option('--authfile <file>', "skopeo's, in place of containers-auth.json(5)'s")
    .choice('--tls-verify <bool>', 'whether a registry needs a certificate (default: unless it is on this machine)', [
      'true',
      'false',
    ])
    .option('-q, --quiet', 'no progress');
}

function transferOptions({ authfile, tlsVerify, quiet }: TransferFlags) {
  return {
    authfile,
    tlsVerify: tlsVerify && tlsVerify === 'true',
    progress: isTerminal(2) && quiet !== true,
  };
}
