/** `-v` and `--tmpfs` as docker writes them: words → what is mounted where. Pure: the host's files are looked at elsewhere. */
import { InvalidInputError } from '../errors.ts';
import type { ContainerSpec } from './container.ts';
import { HOST_FILES, HOST_FOLDERS, isWithin } from './root-paths.ts';

export type VolumeSpec = NonNullable<ContainerSpec['volumes']>[number];

const NAME_BYTES = 255;

/** docker's grammar. Throws InvalidInputError. */
export function parseVolumeName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(text)) return text;
  throw new InvalidInputError(`cannot use volume name ${JSON.stringify(text)}: not a valid name`, {
    hint: text.includes('/') || text === '' ? 'a path of the host begins with / or .' : 'letters, digits, _ . -',
  });
}

/** Where it is mounted: absolute, without `..`, and in the way of nothing that minict mounts. Throws InvalidInputError. */
function parseTarget(text: string, word: string): string {
  const refuse = (cause: string, hint: string) => new InvalidInputError(`cannot mount at ${text}: ${cause}`, { hint });
  if (!text.startsWith('/')) {
    throw new InvalidInputError(`cannot use ${JSON.stringify(word)}: ${JSON.stringify(text)} is no absolute path`, {
      hint: `${word.startsWith('--tmpfs') ? 'DST[:size=64m,…]' : 'SRC:DST[:ro|rw]'}, and DST begins with /`,
    });
  }
  if (/\p{Cc}/u.test(text)) throw refuse('a control character in its name', 'name another place');
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw refuse("'..' in a path", 'write it without');
  if (parts.some((part) => Buffer.byteLength(part) > NAME_BYTES)) {
    throw refuse(`a name of more than ${NAME_BYTES} bytes`, 'name another place');
  }
  const target = `/${parts.join('/')}`;
  if (target === '/') throw refuse("the root is the image's", '--rootfs DIR or --image DIR takes a root from the host');
  const folder = HOST_FOLDERS.find((dir) => isWithin(target, dir));
  if (folder !== undefined) throw refuse(`${folder} is the host's`, 'name another place');
  const file = HOST_FILES.find((path) => target !== path && isWithin(target, path));
  if (file !== undefined) throw refuse(`${file} is a file`, `mount a file at ${file} itself`);
  return target;
}

/** `SRC:DST[:ro|rw]` or `DST`: the source of a bind is as it was written. Throws InvalidInputError. */
export function parseVolume(word: string): Exclude<VolumeSpec, { type: 'tmpfs' }> {
  const parts = word.split(':');
  if (parts.length === 1) return { type: 'volume', target: parseTarget(word, `-v ${word}`) };
  const [source = '', target = '', mode = 'rw', ...rest] = parts;
  if (rest.length > 0 || !['ro', 'rw'].includes(mode)) {
    throw new InvalidInputError(`cannot use ${JSON.stringify(`-v ${word}`)}: not SRC:DST[:ro|rw]`, {
      hint: parts.length > 3 ? 'a path with a colon cannot be written here' : 'ro and rw are all the options there are',
    });
  }
  const where = { target: parseTarget(target, `-v ${word}`), ...(mode === 'ro' ? { readOnly: true } : {}) };
  if (source.includes('/') || source.startsWith('.')) return { type: 'bind', source, ...where };
  return { type: 'volume', name: parseVolumeName(source), ...where };
}

/** Where an image wants a volume; none where minict mounts the host's, as images of systemd have it. Throws InvalidInputError. */
export function parseImageVolume(text: string): VolumeSpec[] {
  const path = `/${text.split('/').filter(Boolean).join('/')}`;
  if ([...HOST_FOLDERS, ...HOST_FILES].some((host) => isWithin(path, host))) return [];
  return [{ type: 'volume', target: parseTarget(path, `its volume ${text}`) }];
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

function isSize(text: string): boolean {
  const [, number = '', unit = ''] = /^([1-9]\d*)([kmg%]?)$/i.exec(text) ?? [];
  if (unit === '%') return Number(number) <= 100;
  return number !== '' && Number(number) * (UNITS[unit.toLowerCase()] as number) <= Number.MAX_SAFE_INTEGER;
}

/** The largest one means "no change" to the kernel. */
const isId = (text: string) => /^\d{1,10}$/.test(text) && Number(text) < 0xffff_ffff;

/** With a value, and what that has to look like. */
const TMPFS_VALUES: Readonly<Record<string, { readonly is: (text: string) => boolean; readonly like: string }>> = {
  size: { is: isSize, like: '64m, 1g, 50%' },
  nr_inodes: { is: (text) => isSize(text) && !text.endsWith('%'), like: '10k' },
  mode: { is: (text) => /^[0-7]{1,4}$/.test(text), like: '1777, in octal' },
  uid: { is: isId, like: '1000, a number' },
  gid: { is: isId, like: '1000, a number' },
};
/** Without one: each word stands for what of it is in effect. */
const TMPFS_FLAGS: Readonly<Record<string, string>> = {
  ...{ suid: 'setuid', nosuid: 'setuid', dev: 'devices', nodev: 'devices', exec: 'programs', noexec: 'programs' },
  ...{ ro: 'write', rw: 'write', relatime: 'times', noatime: 'times', strictatime: 'times' },
};
/** docker's. */
const TMPFS_DEFAULTS = ['nosuid', 'nodev', 'noexec'];

/** mount(8) takes names of the host's users, and more that is not a user's to say: only what is known here goes on to it. */
function parseTmpfsOptions(text: string): string {
  const settings = new Map(TMPFS_DEFAULTS.map((flag) => [TMPFS_FLAGS[flag] as string, flag]));
  for (const word of text.split(',')) {
    const [key = '', value] = word.split(/=(.*)/s);
    const known = Object.hasOwn(TMPFS_VALUES, key) ? TMPFS_VALUES[key] : undefined;
    if (known !== undefined && value !== undefined && known.is(value)) settings.set(key, word);
    else if (value === undefined && Object.hasOwn(TMPFS_FLAGS, key)) settings.set(TMPFS_FLAGS[key] as string, word);
    else {
      const all = [...Object.keys(TMPFS_VALUES).map((name) => `${name}=`), ...Object.keys(TMPFS_FLAGS)].join(', ');
      throw new InvalidInputError(`cannot use tmpfs option ${JSON.stringify(word)}: not a valid one`, {
        hint: known === undefined ? `known are ${all}` : `for example ${key}=${known.like}`,
      });
    }
  }
  return [...settings.values()].join(',');
}

/** `DST[:options]`. Throws InvalidInputError. */
export function parseTmpfs(word: string): VolumeSpec {
  const [target = '', options] = word.split(/:(.*)/s);
  return {
    type: 'tmpfs',
    target: parseTarget(target, `--tmpfs ${word}`),
    options: options === undefined ? TMPFS_DEFAULTS.join(',') : parseTmpfsOptions(options),
  };
}

/** Throws InvalidInputError where two are mounted at one place. */
export function refuseTwice(volumes: readonly VolumeSpec[]): void {
  const seen = new Set<string>();
  for (const { target } of volumes) {
    if (seen.has(target)) {
      throw new InvalidInputError(`cannot mount at ${target}: two of them`, { hint: 'give each place once' });
    }
    seen.add(target);
  }
}

function wordsOf(volume: VolumeSpec): VolumeSpec {
  if (volume.type === 'tmpfs') return parseTmpfs(`${volume.target}:${volume.options}`);
  const source = volume.type === 'bind' ? volume.source : volume.name;
  const words = [source, volume.target, volume.readOnly ? 'ro' : undefined];
  return parseVolume(words.filter((word) => word !== undefined).join(':'));
}

/** Throws InvalidInputError unless those are what `-v` and `--tmpfs`, or an image, could have made, with real paths as sources. */
export function checkVolumes(volumes: readonly VolumeSpec[]): void {
  for (const volume of volumes) {
    const isReal = volume.type !== 'bind' || volume.source.startsWith('/');
    if (isReal && Bun.deepEquals(wordsOf(volume), volume)) continue;
    throw new InvalidInputError(`cannot mount at ${volume.target}: nobody mounts so`);
  }
  refuseTwice(volumes);
}
