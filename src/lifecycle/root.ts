/**
 * What a container's root file system is made of: an image, or a directory in place. Refuses directories that are the
 * host's own, minict's, or another container's: two that write into one, or one under an overlay, damage it.
 */
import { realpathSync, statSync } from 'node:fs';
import { sep } from 'node:path';
import { ConflictError, InvalidInputError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import { isListed } from '../image/catalog.ts';
import { type Image, noSuchImage, resolveImage } from '../image/store.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { type Lock, lockImages } from '../state/locks.ts';
import { type Roots, stateFolders } from '../state/paths.ts';
import { findContainer, listContainers } from '../state/store.ts';
import type { Context } from './context.ts';

export type RootSource = Pick<ContainerSpec, 'image' | 'imageId' | 'lower' | 'inPlace'>;

export interface RootOptions {
  readonly image?: string;
  readonly rootfs?: string;
}

export type ResolveImage = (roots: Roots, ref: string) => Promise<Image>;

/** `resolve` makes an image out of `--image`. Throws InvalidInputError, NotFoundError, ConflictError. */
export async function resolveRoot(
  context: Context,
  options: RootOptions,
  resolve: ResolveImage = resolveImage,
): Promise<{ source: RootSource; settings: Image['settings'] }> {
  const { rootfs } = options;
  if (rootfs === undefined) {
    const image = await resolve(context.roots, options.image ?? 'base');
    const { name, id, layers, settings } = image;
    if (name === layers[0]) refuseOwn(context, name, `image ${options.image}`);
    return { source: { image: name, ...(id === undefined ? {} : { imageId: id }), lower: [...layers] }, settings };
  }
  if (options.image !== undefined) {
    throw new InvalidInputError('cannot use --image and --rootfs together', { hint: 'take one of them' });
  }
  const stat = statUserPath(rootfs, `use rootfs ${rootfs}`);
  if (!stat.isDirectory()) throw new InvalidInputError(`cannot use rootfs ${rootfs}: no directory`);
  const inPlace = realpathSync(rootfs);
  const host = statSync('/');
  if (stat.dev === host.dev && stat.ino === host.ino) {
    throw new InvalidInputError(`cannot use rootfs ${rootfs}: it is the host's own root`, {
      hint: 'a container without a root of its own is: ip netns exec',
    });
  }
  refuseOwn(context, inPlace, `rootfs ${rootfs}`);
  return { source: { inPlace }, settings: {} };
}

function refuseOwn(context: Context, dir: string, what: string): void {
  const own = stateFolders(context.roots).some((folder) => `${dir}${sep}`.startsWith(`${folder}${sep}`));
  if (!own && dir !== context.roots.root) return;
  throw new InvalidInputError(`cannot use ${what}: it is in minict's state folder`, {
    hint: "--image NAME takes an image by its name; cp -a makes a copy of a container's files",
  });
}

/**
 * Until the container is there nobody removes its image, or writes into a directory that has it. Throws NotFoundError where
 * the image was removed since it was looked at.
 */
export function lockRoot({ roots }: Context, { inPlace, image, imageId }: RootSource): Lock {
  const lock = lockImages(roots, inPlace === undefined ? 'shared' : 'exclusive');
  if (imageId === undefined || isListed(roots, imageId)) return lock;
  lock.release();
  throw noSuchImage(`use image ${image}`);
}

/** Throws ConflictError where another container writes into its directory, or has it as an image and this one would. */
export async function refuseUsedRoot(context: Context, { name, image, lower, inPlace }: ContainerSpec): Promise<void> {
  // A named image is minict's own: nobody has it in place.
  const dir = inPlace ?? image;
  if (dir === undefined || (inPlace === undefined && lower?.[0] !== image)) return;
  const what = inPlace === undefined ? `image ${dir}` : `rootfs ${dir}`;
  for (const user of listContainers(context.roots)) {
    const other = user === name ? undefined : await findContainer(context.roots, user);
    if (other === undefined) continue;
    const has = other.inPlace === dir || (inPlace !== undefined && other.lower?.includes(dir));
    if (!has) continue;
    throw new ConflictError(`cannot use ${what}: container ${user} has it`, {
      hint: `minict rm ${user}, or a copy of the directory`,
    });
  }
}
