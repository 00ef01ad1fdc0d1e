/** How a new volume gets the files that the image has at its place: owners, modes, times, links and attributes included. */
import { join } from 'node:path';
import type { Step } from '../step.ts';
import type { PlacedVolume } from './mount-points.ts';
import { overlayOptions } from './overlay-options.ts';

/** What a root is made of before anything is changed: lower directories with the skeleton, or the directory in place. */
export type FillFrom = { readonly lower: readonly string[] } | { readonly inPlace: string };

/**
 * The layers are looked at as the container would see them, over their own first one, where nobody else sees it. `$4` has
 * no symlinks; a script may run before the image is there.
 */
const COPY_MERGED = `cd "$1" && mount -t overlay -o "ro,$2" overlay "$3" && { [ ! -d "$3$4" ] || cp -a -- "$3$4/." "$5"; }`;

/** `path` is inside the root, without symlinks; `to` an empty directory. */
export function fillArgv(from: FillFrom, path: string, to: string): string[] {
  if ('inPlace' in from) return ['cp', '-a', '--one-file-system', '--', join(from.inPlace, path, '.'), to];
  const { options, cwd = '/' } = overlayOptions({ lower: from.lower });
  return ['unshare', '--mount', 'sh', '-c', COPY_MERGED, 'sh', cwd, options, from.lower[0] as string, path, to];
}

/** Its folder, and what is in it at first. */
export function planNewVolume({ volume, source = '', fill }: PlacedVolume, from: FillFrom, chain?: string): Step[] {
  const more = chain === undefined ? {} : { chain };
  const why = volume.type === 'volume' && volume.name !== undefined ? `volume ${volume.name}` : 'a volume of its own';
  return [
    { id: `volume ${source}`, why, ...more, run: { kind: 'mkdir', path: source, mode: 0o755, parents: true } },
    ...(fill === undefined
      ? []
      : [
          {
            id: `fill ${source}`,
            why: `what the image has at ${volume.target}`,
            ...more,
            run: { kind: 'run' as const, argv: fillArgv(from, fill, source) },
          },
        ]),
  ];
}
