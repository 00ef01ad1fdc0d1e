/** What container.json says of a container: all that outlasts a reboot. */
import type { z } from 'zod/mini';
import type { container } from './schema.ts';

export type ContainerSpec = z.infer<typeof container>;
export type NicSpec = ContainerSpec['nics'][number];
export type RouteSpec = NonNullable<ContainerSpec['routes']>[number];

export type Isolated = NonNullable<ContainerSpec['isolated']>[number];

export function isIsolated({ isolated = [] }: Pick<ContainerSpec, 'isolated'>, what: Isolated): boolean {
  return isolated.includes(what);
}

export type Snapshot = NonNullable<ContainerSpec['snapshots']>[number];

/** Directories of all layers that its files, now and at its snapshots, are made of. */
export function layersOf({ lower = [], snapshots = [], pending }: ContainerSpec): string[] {
  const coming = pending === undefined || pending.kind === 'discard' ? [] : [pending.layer];
  return [...lower, ...snapshots.flatMap((snapshot) => snapshot.lower), ...coming];
}

/** Digests of all images that those are of. */
export function imagesOf({ imageId, snapshots = [] }: ContainerSpec): string[] {
  return [imageId, ...snapshots.map((snapshot) => snapshot.imageId)].filter((id) => id !== undefined);
}

/** The root file system's directory as exec, chroot and the mounts see it: what is in place is read-only elsewhere. */
export function rootfsOf({ inPlace, readOnly }: ContainerSpec, mountTarget: string): string {
  return inPlace === undefined || readOnly ? mountTarget : inPlace;
}

/** The directory with all of its files, where they are not made of layers at each mount. */
export function treeOf({ inPlace, storage = 'overlay' }: ContainerSpec, files: string): string | undefined {
  return inPlace ?? (storage === 'overlay' ? undefined : files);
}

/** docker's word for the host, as the container reaches it: the address of a line in its hosts file. */
export const HOST_GATEWAY = 'host-gateway';

/**
 * Who is in one network alone, and always was, has that network's hosts file; everybody else one of their own, and so has who has
 * lines of its own, or is kept apart: root inside can write it.
 */
export function hasOwnHosts({
  nics,
  ownHosts,
  extraHosts,
  profile,
  userns,
}: Pick<ContainerSpec, 'nics' | 'ownHosts' | 'extraHosts' | 'profile' | 'userns'>): boolean {
  if (ownHosts === true || extraHosts !== undefined) return true;
  return profile !== undefined || userns !== undefined || networksOf(nics).length !== 1;
}

/** The network that it is in; a cable and a network card are in none. */
export function networkOf(nic: NicSpec): string | undefined {
  return 'network' in nic ? nic.network : undefined;
}

/** Its networks, each once, in the order of its interfaces. */
export function networksOf(nics: readonly NicSpec[]): string[] {
  return [...new Set(nics.flatMap((nic) => networkOf(nic) ?? []))];
}

/** Without their lengths, in the order of its interfaces. */
export function addressesOf({ nics }: ContainerSpec): string[] {
  return nics.flatMap((nic) => nic.addresses.map((address) => address.split('/')[0] as string));
}
