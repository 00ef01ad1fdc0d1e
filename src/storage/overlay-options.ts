/** What mount(8) takes for an overlay of layers, wherever one is mounted: as a root, to look into it, or to copy it. */
import { statSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { InvalidInputError } from '../errors.ts';
import { isWithin } from '../spec/root-paths.ts';

/** Throws InvalidInputError where no overlay can be made of `lowers` in a state folder `dir`. */
export function checkLayers(lowers: readonly string[], dir: string): void {
  for (const path of [...lowers, dir]) {
    if (!path.includes('"')) continue;
    throw new InvalidInputError(`cannot make an overlay of ${path}: mount(8) takes no double quote in a path`, {
      hint: 'rename it',
    });
  }
  const around = lowers.find((lower) => isWithin(dir, lower === '/' ? '' : lower));
  if (around !== undefined && statSync(around).dev === statSync(dir).dev) {
    throw new InvalidInputError(`cannot use image ${around}: minict's state folder ${dir} is in it`, {
      hint: 'name a folder on another file system with --root DIR',
    });
  }
}

export interface Overlay {
  readonly lower: readonly string[];
  /** Both absent where it is only looked at: nothing is written into any. */
  readonly upper?: string;
  readonly work?: string;
  /** At its unmount the kernel does not write to the disk whatever is in memory of the file system, anybody's. */
  readonly volatile?: boolean;
}

/** overlayfs splits lowerdir at colons, and options at commas; both take a backslash before them. */
function overlayPath(path: string): string {
  return path.replace(/[\\:,]/g, '\\$&');
}

/** mount(2) takes a page of options. */
const MAX_OPTIONS_BYTES = 4095;

/**
 * Where a page is too short for whole paths, they are told from the folder that most layers are in. Throws
 * InvalidInputError where even these are too many.
 */
export function overlayOptions({ lower, upper, work, volatile }: Overlay): { options: string; cwd?: string } {
  const optionsOf = (shown: (path: string) => string) =>
    [
      `lowerdir=${lower.map(shown).map(overlayPath).join(':')}`,
      ...(upper === undefined || work === undefined
        ? []
        : [`upperdir=${overlayPath(shown(upper))}`, `workdir=${overlayPath(shown(work))}`]),
      'index=off',
      'metacopy=off',
      'redirect_dir=off',
      ...(volatile ? ['volatile'] : []),
    ].join(',');
  const options = optionsOf((path) => path);
  if (Buffer.byteLength(options) <= MAX_OPTIONS_BYTES) return { options };
  const byFolder = [...Map.groupBy(lower, (dir) => dirname(dir))].toSorted(([, a], [, b]) => b.length - a.length);
  const cwd = byFolder[0]?.[0] as string;
  const short = optionsOf((path) => relative(cwd, path));
  if (Buffer.byteLength(short) <= MAX_OPTIONS_BYTES) return { options: short, cwd };
  throw new InvalidInputError(`cannot mount ${lower.length} layers: their names do not fit into a page`, {
    hint: 'minict export and minict image import make one layer of many',
  });
}
