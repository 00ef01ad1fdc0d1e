/** Options that create and run share, and how they become a spec. */

import { ConflictError, InvalidInputError } from '../errors.ts';
import { requireTool, requireTools } from '../host/tool.ts';
import { combineSettings } from '../image/settings.ts';
import { resolveVolumes } from '../lifecycle/attachments.ts';
import type { Context } from '../lifecycle/context.ts';
import { createContainer, prepareFiles, refuseForeign } from '../lifecycle/create.ts';
import { leaveNetworks } from '../lifecycle/network.ts';
import { recover } from '../lifecycle/remove.ts';
import { type Besides, reserveNics } from '../lifecycle/reservation.ts';
import { lockRoot, type ResolveImage, refuseUsedRoot, resolveRoot } from '../lifecycle/root.ts';
import type { Made } from '../lifecycle/start.ts';
import type { TreeOrigin } from '../plan/container.ts';
import type { ContainerSpec, NicSpec } from '../spec/container.ts';
import type { LimitOptions } from '../spec/limits.ts';
import { parseHostname, parseNewContainerName } from '../spec/name.ts';
import type { NicRequest } from '../spec/nic.ts';
import { formatPort, parsePublishes } from '../spec/port.ts';
import { parseRoute, parseSysctl, requireRouting } from '../spec/routing.ts';
import { type Lock, lockContainer, releaseContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { ensureState, findContainer } from '../state/store.ts';
import { isDriver } from '../storage/driver.ts';
import { addDnsOptions, type DnsOptions, dnsFrom } from './dns-options.ts';
import { environmentFrom, parseLabels } from './env.ts';
import { addIsolationOptions, type IsolationOptions, isolationFrom } from './isolation-options.ts';
import { addLimitOptions, limitsFrom } from './limit-options.ts';
import { addNicOptions, type NicOptions, requestsFrom } from './nic-options.ts';
import { reportDrops, reportNote } from './report.ts';
import { addSupervisionOptions, type SupervisionOptions, supervisionFrom } from './supervision-options.ts';
import type { VerbCommand } from './verb-command.ts';

/** As commander hands them over. */
export interface ContainerOptions extends NicOptions, DnsOptions, IsolationOptions, LimitOptions, SupervisionOptions {
  readonly image?: string;
  readonly rootfs?: string;
  readonly storage?: string;
  readonly hostname?: string;
  readonly volume: readonly string[];
  readonly tmpfs: readonly string[];
  readonly readOnly?: boolean;
  readonly mounts: ContainerSpec['mounts'];
  readonly service: readonly string[];
  readonly stopCmd: readonly string[];
  readonly env: readonly string[];
  readonly envFile: readonly string[];
  readonly entrypoint?: string;
  readonly user?: string;
  readonly workdir?: string;
  readonly stopSignal?: string;
  readonly label: readonly string[];
  readonly router?: boolean;
  readonly mptcp?: boolean;
  readonly route: readonly string[];
  readonly sysctl: readonly string[];
  readonly publish: readonly string[];
  /** Of `run`. */
  readonly rm?: boolean;
}

const NETWORK = 'Network:';

export function addContainerOptions(command: VerbCommand): VerbCommand {
  const settings = addDnsOptions(addNicOptions(command.optionsGroup(NETWORK)))
    .optionsGroup('Files:')
    .option('--image <image>', 'image name, directory or tarball (default: base)')
    .option('--rootfs <dir>', 'a directory to be written in place')
    .option('--storage <driver>', 'overlay, btrfs or copy (default: MINICT_STORAGE, or overlay)')
    .repeatable('-v, --volume <src:dst[:ro]>', 'a volume, or with a / in SRC a file or directory of the host')
    .repeatable('--tmpfs <dst[:options]>', 'files in memory: size, mode, uid, gid, exec, …')
    .option('--read-only', 'nothing is written but into volumes, binds and tmpfs')
    .choice('--mounts <where>', 'where the mounts are', ['private', 'host'], 'private')
    .optionsGroup('Programs:')
    .repeatable('--service <cmd>', 'command that start runs, through /bin/sh -c, and waits for')
    .repeatable('--stop-cmd <cmd>', 'command that stop runs first, through /bin/sh -c')
    .repeatable('-e, --env <K=V>', 'environment')
    .repeatable('--env-file <file>', 'environment, a K=V a line')
    .option('--entrypoint <program>', "in place of the image's")
    .option('-u, --user <user[:group]>', 'of the main command and of exec, resolved inside')
    .option('-w, --workdir <dir>', 'of the main command and of exec, inside')
    .option('--stop-signal <signal>', 'what stop sends (default: TERM)')
    .repeatable('-l, --label <K=V>', 'label')
    .optionsGroup(NETWORK)
    .option('--hostname <name>', 'host name (default: NAME)', parseHostname)
    .repeatable(
      '-p, --publish <[ip:]port:port[/udp]>',
      "a port of the host's that leads to one of the container's (default: 127.0.0.1, a free port)",
    )
    .option('--router', 'it forwards, IPv4 and IPv6')
    .option('--mptcp', 'Multipath TCP over all its interfaces')
    .repeatable('--route <subnet,via=address[,dev=interface]>', 'static route')
    .repeatable('--sysctl <K=V>', 'net.… setting of its network namespace');
  addLimitOptions(settings.optionsGroup('Limits:'));
  addIsolationOptions(settings.optionsGroup('Isolation:'));
  return addSupervisionOptions(settings.optionsGroup('Restart, health, log:')).optionsGroup('Options:');
}

/** What to run, from the command line: the words after `--`, or what stands in for them. */
export interface Words {
  readonly words: readonly string[];
  /** Where neither the user nor the image says what. */
  readonly fallback: readonly string[];
}

/** The spec without its interfaces, which need addresses. */
export async function specFrom(
  context: Context,
  rawName: string,
  opts: ContainerOptions,
  command: Words,
  resolve?: ResolveImage,
): Promise<ContainerSpec> {
  const name = parseNewContainerName(rawName);
  requirePublishable(opts);
  const limits = await limitsFrom(opts);
  const { source, settings } = await resolveRoot(context, opts, resolve);
  const given = {
    ...command,
    entrypoint: opts.entrypoint,
    env: environmentFrom(opts.envFile, opts.env),
    user: opts.user,
    workdir: opts.workdir,
    stopSignal: opts.stopSignal,
    labels: parseLabels(opts.label),
    hasServices: opts.service.length > 0,
  };
  const volumes = resolveVolumes(opts.volume, opts.tmpfs, Object.keys(settings.Volumes ?? {}));
  const combined = combineSettings(settings, given);
  const boot = opts.boot ? bootFrom(opts, command.words) : {};
  const spec: ContainerSpec = {
    version: 1,
    name,
    hostname: opts.hostname ?? name,
    createdAt: new Date().toISOString(),
    mounts: opts.mounts,
    nics: [],
    services: [...opts.service],
    stopCommands: [...opts.stopCmd],
    ...combined,
    ...boot,
    ...(opts.readOnly ? { readOnly: true } : {}),
    ...(opts.rm ? { volatile: true } : {}),
    ...(volumes.length === 0 ? {} : { volumes }),
    ...source,
    ...storageFrom(opts),
    ...limits,
    ...routingFrom(opts),
    ...(await dnsFrom(opts, volumes)),
    ...isolationFrom(opts, limits.ulimits),
    ...supervisionFrom(opts, boot.command ?? combined.command),
  };
  if (opts.boot) (await import('../lifecycle/bootable.ts')).requireBootable(spec);
  return spec;
}

/** systemd-nspawn looks for its init itself. Throws InvalidInputError. */
function bootFrom(
  { entrypoint, service }: ContainerOptions,
  words: readonly string[],
): Partial<Pick<ContainerSpec, 'command'>> {
  const other = words.length > 0 || entrypoint !== undefined ? 'a main command' : '--service';
  if (words.length > 0 || entrypoint !== undefined || service.length > 0) {
    throw new InvalidInputError(`cannot use --boot and ${other} together: its init starts what runs in it`, {
      hint: 'a unit of its systemd, enabled',
    });
  }
  return { command: ['/sbin/init'] };
}

function routingFrom(options: ContainerOptions): Pick<ContainerSpec, 'router' | 'mptcp' | 'routes' | 'sysctls'> {
  const { router, mptcp, route, sysctl } = options;
  return {
    ...(router ? { router: true } : {}),
    ...(mptcp ? { mptcp: true } : {}),
    ...(route.length === 0 ? {} : { routes: route.map(parseRoute) }),
    ...(sysctl.length === 0 ? {} : { sysctls: Object.fromEntries(sysctl.map(parseSysctl)) }),
  };
}

/** What is wrong with it is said before anything is made. Throws InvalidInputError, HostError. */
function requirePublishable(opts: ContainerOptions): void {
  const nics = requestsFrom(opts);
  if (parsePublishes(opts.publish).length === 0) return;
  requireTool('nft');
  if (nics.length > 0) return;
  throw new InvalidInputError('cannot use -p and --no-network together', { hint: 'take one of them' });
}

/** Overlay is not written down: it is what all have that say nothing. */
function storageFrom({ rootfs, storage }: ContainerOptions): Pick<ContainerSpec, 'storage'> {
  if (rootfs !== undefined) {
    if (storage === undefined) return {};
    throw new InvalidInputError('cannot use --storage and --rootfs together', { hint: 'take one of them' });
  }
  const [from, name] =
    storage === undefined ? ['MINICT_STORAGE', process.env.MINICT_STORAGE || 'overlay'] : ['--storage', storage];
  if (!isDriver(name)) {
    throw new InvalidInputError(`cannot use ${from} ${JSON.stringify(name)}: no storage driver`, {
      hint: 'overlay, btrfs or copy',
    });
  }
  return name === 'overlay' ? {} : { storage: name };
}

/**
 * argv → container: what create and run do. Throws; then nothing is left. `goOn` has it before anybody else can; what that
 * throws leaves the container as it is then.
 */
export async function makeContainer<T>(
  context: Context,
  rawName: string,
  opts: ContainerOptions,
  command: Words,
  goOn: (made: Made) => T | Promise<T>,
): Promise<T> {
  parseNewContainerName(rawName);
  requireTools();
  const instance = ensureState(context.roots);
  const lock = lockContainer(context.roots, rawName, 'exclusive');
  try {
    await recover(context, instance, rawName, lock.fd);
    if ((await findContainer(context.roots, rawName)) !== undefined) {
      throw new ConflictError(`cannot create ${rawName}: a container of that name is there`, {
        hint: `minict start ${rawName}; or minict rm ${rawName}, for another one`,
      });
    }
    refuseForeign(containerPaths(context.roots, rawName), rawName);
    const spec = await makeLocked(context, instance, await specFrom(context, rawName, opts, command), opts, lock);
    return await goOn({ spec, instance, lock });
  } finally {
    releaseContainer(context.roots, rawName, lock);
  }
}

async function makeLocked(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  opts: ContainerOptions,
  lock: Lock,
): Promise<ContainerSpec> {
  const rootLock = lockRoot(context, spec);
  try {
    await refuseUsedRoot(context, spec);
    const besides = {
      check: (nics: readonly NicSpec[]) => requireRouting(spec, nics),
      publish: parsePublishes(opts.publish),
    };
    const make = () => createFrom(context, instance, spec, requestsFrom(opts), lock.fd, besides);
    const isPlain = !spec.volumes?.some((volume) => volume.type === 'volume' && volume.name !== undefined);
    // Loaded where there are any.
    if (isPlain) return await make();
    return await (await import('../lifecycle/volumes.ts')).withVolumes(context, spec, make);
  } finally {
    rootLock.release();
  }
}

/**
 * The container of a spec without its interfaces, with the image's files or `origin`'s; the caller holds its lock. `check` sees
 * its interfaces before they are made. Throws; then nothing is left.
 */
export async function createFrom(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  requests: readonly NicRequest[],
  lockFd: number,
  options: Besides & { readonly origin?: TreeOrigin | undefined } = {},
): Promise<ContainerSpec> {
  const make = (chosen: ContainerSpec) => createChosen(context, instance, chosen, requests, lockFd, options);
  if (spec.userns === undefined) return make(spec);
  return (await import('../lifecycle/id-range.ts')).withIdRange(context, spec, make);
}

async function createChosen(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  requests: readonly NicRequest[],
  lockFd: number,
  { origin, ...besides }: Besides & { readonly origin?: TreeOrigin | undefined },
): Promise<ContainerSpec> {
  await prepareFiles(context, spec, origin);
  if (requests.length === 0) {
    besides.check?.([]);
    await createContainer(context, instance, spec, undefined, lockFd, origin);
    return spec;
  }
  const reservation = await reserveNics(context, instance, spec, requests, besides);
  try {
    const { nics, ports } = reservation;
    const full = { ...spec, nics: [...nics], ...(ports.length === 0 ? {} : { ports: [...ports] }) };
    const drops = await createContainer(context, instance, full, reservation, lockFd, origin);
    reportDrops(drops);
    for (const port of ports) reportNote(`${full.name} has ${formatPort(port)}`);
    return full;
  } catch (error) {
    reservation.release();
    // The host was made ready for them.
    if (reservation.ports.length > 0) await leaveNetworks(context, [spec.name]);
    throw error;
  } finally {
    reservation.release();
  }
}
