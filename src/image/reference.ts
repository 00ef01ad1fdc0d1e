/** What images are called: `name[:tag]`, and by the digest of their manifest. Pure. */
import { basename } from 'node:path';
import { InvalidInputError } from '../errors.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$/;

const DEFAULT_TAG = ':latest';

/** In full, `web:latest` for `web`. Throws InvalidInputError. */
export function parseImageName(text: string): string {
  if (!NAME.test(text)) {
    throw new InvalidInputError(`cannot use image name ${JSON.stringify(text)}: not a valid name`, {
      hint: text.includes('/') ? 'a name has no /: for example web:1' : 'for example web:1',
    });
  }
  return text.includes(':') ? text : `${text}${DEFAULT_TAG}`;
}

/** As it is shown: without the tag that goes without saying. */
export function shownName(name: string): string {
  return name.endsWith(DEFAULT_TAG) ? name.slice(0, -DEFAULT_TAG.length) : name;
}

/** What an image of a tarball is called where nobody says: after the file. */
export function nameOfTarball(path: string): string {
  return basename(path)
    .replace(/\.(tar(\.(gz|xz|zst|zstd|bz2))?|tgz|txz)$/, '')
    .replace(/[^A-Za-z0-9_.-]/g, '-');
}

/** A digest or the beginning of one, with or without `sha256:`; undefined where `text` can be none. */
export function digestPrefix(text: string): string | undefined {
  const hex = /^(?:sha256:)?([0-9a-f]{6,64})$/.exec(text)?.[1];
  return hex === undefined ? undefined : `sha256:${hex}`;
}

const SHOWN_DIGITS = 12;

/** As docker shows one in a table. */
export function shortDigest(digest: string): string {
  return digest.slice('sha256:'.length).slice(0, SHOWN_DIGITS);
}
