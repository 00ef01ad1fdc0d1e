/** What container.json says of a container: all that outlasts a reboot. */
import type { z } from 'zod/mini';
import type { container } from './schema.ts';

export type ContainerSpec = z.infer<typeof container>;
export type NicSpec = NonNullable<ContainerSpec['nic']>;

/** The root file system's directory as exec, chroot and the mounts see it. */
export function rootfsOf(spec: ContainerSpec, overlayTarget: string): string {
  return spec.inPlace ?? overlayTarget;
}
