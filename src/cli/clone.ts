/** minict clone: the files and settings of a container under another name and address. */
import { ConflictError } from '../errors.ts';
import { requireTools } from '../host/tool.ts';
import { withFiles } from '../lifecycle/clone.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { refuseForeign } from '../lifecycle/create.ts';
import { recover } from '../lifecycle/remove.ts';
import { parseMtuBytes } from '../spec/address.ts';
import { parseContainerName, parseHostname, parseMac } from '../spec/name.ts';
import { lockContainer, lockImages, releaseContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { ensureState, findContainer, getContainer } from '../state/store.ts';
import { type ContainerOptions, createFrom } from './container-options.ts';
import { print } from './output.ts';
import type { Define } from './program.ts';

type CloneOptions = Pick<ContainerOptions, 'ip' | 'gateway' | 'macAddress' | 'mtu' | 'hostname'> & {
  readonly snapshot?: string;
};

async function cloneContainer(context: Context, source: string, name: string, options: CloneOptions): Promise<void> {
  if (source === name) throw new ConflictError(`cannot clone ${source}: the clone needs another name`);
  requireTools();
  const instance = ensureState(context.roots);
  const names = [source, name].sort();
  const locks = names.map((each) => lockContainer(context.roots, each, 'exclusive'));
  const lockFd = locks[names.indexOf(name)]?.fd as number;
  const images = lockImages(context.roots, 'shared');
  try {
    await recover(context, instance, name, lockFd);
    if ((await findContainer(context.roots, name)) !== undefined) {
      throw new ConflictError(`cannot clone ${source}: a container ${name} is there`, { hint: `minict rm ${name}` });
    }
    refuseForeign(containerPaths(context.roots, name), name);
    const sourceLockFd = locks[names.indexOf(source)]?.fd as number;
    await withFiles(
      context,
      instance,
      source,
      options.snapshot,
      sourceLockFd,
      async (lower, { image, imageId }, origin) => {
        const { nic, snapshots: _, pending: __, ...settings } = await getContainer(context.roots, source);
        const hostname = options.hostname ?? (settings.hostname === source ? name : settings.hostname);
        const clone = { ...settings, name, hostname, createdAt: new Date().toISOString(), lower };
        const from = { ...(image === undefined ? {} : { image }), ...(imageId === undefined ? {} : { imageId }) };
        const mtu = options.mtu ?? nic?.mtuBytes;
        const network = { ...options, network: nic !== undefined, ...(mtu === undefined ? {} : { mtu }) };
        await createFrom(context, instance, { ...clone, ...from }, network, lockFd, origin);
      },
    );
  } finally {
    images.release();
    for (const [index, lock] of locks.entries()) releaseContainer(context.roots, names[index] as string, lock);
  }
}

export const define: Define = (command, globals) => {
  command
    .argument('<source>')
    .argument('<name>')
    .option('--snapshot <snapshot>', 'the files as they were then')
    .option('--ip <address>', 'IPv4 address, with or without /len (default: next free)')
    .option('--gateway <address>', 'default route (default: the bridge)')
    .option('--mac-address <mac>', 'MAC address', parseMac)
    .option('--mtu <bytes>', 'MTU', parseMtuBytes)
    .option('--hostname <name>', 'host name (default: NAME)', parseHostname)
    .action(async (source: string, name: string, options: CloneOptions) => {
      requireRoot('clone');
      await cloneContainer(contextFrom(globals()), parseContainerName(source), parseContainerName(name), options);
      print(`${name}\n`);
    });
};
