/** What container.json says of a container: all that outlasts a reboot. */
import * as z from 'zod/mini';

export const containerSpec = z.object({
  version: z.literal(1),
  name: z.string(),
  hostname: z.string(),
  createdAt: z.string(),
  /** Name of the image, or the real path of a directory used as one. */
  image: z.optional(z.string()),
  /** Read-only lower directory of the overlay; absent with `inPlace`. */
  lower: z.optional(z.string()),
  /** A directory that is written in place (`--rootfs`). */
  inPlace: z.optional(z.string()),
  mounts: z.enum(['private', 'host']),
  nic: z.optional(
    z.object({
      network: z.string(),
      name: z.string(),
      hostLink: z.string(),
      address: z.string(),
      prefix: z.number(),
      gateway: z.string(),
      mac: z.string(),
      mtuBytes: z.optional(z.number()),
    }),
  ),
  services: z.array(z.string()),
  stopCommands: z.array(z.string()),
  command: z.array(z.string()),
  env: z.record(z.string(), z.string()),
});

export type ContainerSpec = z.infer<typeof containerSpec>;
export type NicSpec = NonNullable<ContainerSpec['nic']>;

/** The root file system's directory as exec, chroot and the mounts see it. */
export function rootfsOf(spec: ContainerSpec, overlayTarget: string): string {
  return spec.inPlace ?? overlayTarget;
}
