/** export: the root file system as its layers make it, for docker import and podman import; nothing that is mounted in it. */
import type { MinictError } from '../errors.ts';
import type { Context } from './context.ts';
import { NOT_THE_HOSTS, packTo } from './transfer.ts';
import { openView } from './view.ts';

const WORDS = [
  ...['--numeric-owner', '--acls', '--xattrs', '--xattrs-include=*'],
  // The host's own marks: its overlays', and its security labels.
  ...['--xattrs-exclude=trusted.overlay.*', '--xattrs-exclude=security.selinux'],
  ...NOT_THE_HOSTS,
];

/** Writes a tar to a descriptor; returns what went not quite as it should. Throws NotFoundError, ConflictError, HostError. */
export async function exportRoot(context: Context, name: string, output: number): Promise<readonly MinictError[]> {
  const view = await openView(context, name, { bare: true });
  try {
    await view.seal();
    const directory = view.tree.enter(view.tree.locate('/', false));
    const transfer = { context, verb: `export ${name}`, lockFd: view.lockFd };
    return await packTo(transfer, { directory, enter: view.enter, name: '.', words: WORDS }, output);
  } finally {
    await view.close();
  }
}
