/** What container.json says of a container: all that outlasts a reboot. */
import type { z } from 'zod/mini';
import type { container } from './schema.ts';

export type ContainerSpec = z.infer<typeof container>;
export type NicSpec = NonNullable<ContainerSpec['nic']>;

/** The root file system's directory as exec, chroot and the mounts see it: what is in place is read-only elsewhere. */
export function rootfsOf({ inPlace, readOnly }: ContainerSpec, mountTarget: string): string {
  return inPlace === undefined || readOnly ? mountTarget : inPlace;
}
