/** minict clone: the files and settings of a container under another name and address. */
import { ConflictError, InvalidInputError } from '../errors.ts';
import { requireTools } from '../host/tool.ts';
import { withFiles } from '../lifecycle/clone.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { refuseForeign } from '../lifecycle/create.ts';
import { requireLimits } from '../lifecycle/limits.ts';
import { recover } from '../lifecycle/remove.ts';
import { type NicSpec, networkOf } from '../spec/container.ts';
import { parseContainerName, parseHostname, parseNewContainerName } from '../spec/name.ts';
import type { NicRequest } from '../spec/nic.ts';
import { type Port, type PortRequest, parsePublishes, requestOf } from '../spec/port.ts';
import { lockContainer, lockImages, releaseContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { ensureState, findContainer, getContainer } from '../state/store.ts';
import { createFrom } from './container-options.ts';
import { type AddressOptions, addAddressOptions } from './nic-options.ts';
import { print } from './output.ts';
import { reportNote } from './report.ts';
import type { Define } from './verbs.ts';

interface CloneOptions extends AddressOptions {
  readonly publish: readonly string[];
  readonly hostname?: string;
  readonly snapshot?: string;
}

/** In the same networks, under the same names, with addresses of its own; the options are for the first one. */
function requestsOf(nics: readonly NicSpec[], options: CloneOptions): NicRequest[] {
  const { ip, gateway, macAddress } = options;
  // There is one of each cable and network card.
  const inNetworks = nics.filter((nic) => networkOf(nic) !== undefined);
  const [first] = inNetworks;
  if (first === undefined && (ip.length > 0 || gateway.length > 0)) {
    throw new InvalidInputError('cannot use --ip or --gateway: the container to clone has no network');
  }
  return inNetworks.map((nic): NicRequest => {
    const own = nic === first ? { ips: ip, gateways: gateway, mac: macAddress } : { ips: [], gateways: [] };
    const mtuBytes = (nic === first ? options.mtu : undefined) ?? nic.mtuBytes;
    const network = networkOf(nic) as string;
    return { network, name: nic.name, ...own, mtuBytes, noAddress: nic.addresses.length === 0 };
  });
}

/** The same ports, at free ones of the host: those of before are the other's. */
function portsOf(ports: readonly Port[] = [], { publish }: CloneOptions): PortRequest[] {
  if (publish.length > 0) return parsePublishes(publish);
  return ports.map((port) => ({ ...requestOf(port), choice: undefined }));
}

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
    requireLimits(await getContainer(context.roots, source));
    const sourceLockFd = locks[names.indexOf(source)]?.fd as number;
    await withFiles(
      context,
      instance,
      source,
      options.snapshot,
      sourceLockFd,
      async (lower, { image, imageId }, origin) => {
        const {
          nics,
          ports,
          snapshots: _,
          pending: __,
          ownHosts: ___,
          autoRemove: ____,
          volatile: _____,
          ...settings
        } = await getContainer(context.roots, source);
        const hostname = options.hostname ?? (settings.hostname === source ? name : settings.hostname);
        const clone = { ...settings, name, hostname, createdAt: new Date().toISOString(), lower };
        const from = { ...(image === undefined ? {} : { image }), ...(imageId === undefined ? {} : { imageId }) };
        const spec = { ...clone, ...from, nics: [] };
        const publish = portsOf(ports, options);
        await createFrom(context, instance, spec, requestsOf(nics, options), lockFd, { origin, publish });
        for (const nic of nics) {
          const what =
            nic.kind === 'p2p' ? `cable to ${nic.peer}` : nic.kind === 'phys' ? `card ${nic.device}` : undefined;
          if (what !== undefined) reportNote(`${name} is without ${source}'s ${what}, ${nic.name} inside`);
        }
      },
    );
  } finally {
    images.release();
    for (const [index, lock] of locks.entries()) releaseContainer(context.roots, names[index] as string, lock);
  }
}

export const define: Define = (command, globals) => {
  addAddressOptions(command)
    .argument('<source>')
    .argument('<name>')
    .option('--snapshot <snapshot>', 'the files as they were then')
    .repeatable('-p, --publish <[ip:]port:port[/udp]>', 'in place of the same ports at free ones of the host')
    .option('--hostname <name>', 'host name (default: NAME)', parseHostname)
    .action(async (source: string, name: string, options: CloneOptions) => {
      requireRoot('clone');
      await cloneContainer(contextFrom(globals()), parseContainerName(source), parseNewContainerName(name), options);
      print(`${name}\n`);
    });
};
