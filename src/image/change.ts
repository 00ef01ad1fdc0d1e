/** The lines of a Dockerfile that set something of an image, as `commit --change` takes them. Pure. */
import { InvalidInputError } from '../errors.ts';
import { mergeSettings } from './settings.ts';
import type { Image } from './store.ts';

type Settings = Image['settings'];

export const CHANGES = 'CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR';

/** `["a", "b"]` in JSON; undefined for anything else. Throws InvalidInputError. */
function arrayOf(value: string): string[] | undefined {
  if (!value.startsWith('[')) return undefined;
  try {
    const words: unknown = JSON.parse(value);
    if (Array.isArray(words) && words.every((word) => typeof word === 'string')) return words;
  } catch {
    // Said below.
  }
  throw new InvalidInputError(`cannot use --change '${value}': not an array of strings in JSON`);
}

/** `["a", "b"]` as it stands, anything else through a shell. */
function commandWords(value: string): string[] {
  return arrayOf(value) ?? (value === '' ? [] : ['/bin/sh', '-c', value]);
}

/** `K=V K2="V 2"`, with double quotes, single ones, or backslashes. Throws InvalidInputError. */
function pairsOf(value: string, line: string): Record<string, string> {
  const pair = /([^\s=]+)=((?:"(?:[^"\\]|\\.)*"|'[^']*'|\\.|[^\s"'\\])*)(?:\s+|$)/sy;
  const pairs: [string, string][] = [];
  while (pair.lastIndex < value.length) {
    const [, key = '', word = ''] = pair.exec(value) ?? [];
    if (key === '') throw new InvalidInputError(`cannot use --change '${line}': not K=V`);
    pairs.push([key, word.replaceAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/gs, unquoted)]);
  }
  return Object.fromEntries(pairs);
}

function unquoted(
  _: string,
  double: string | undefined,
  single: string | undefined,
  escaped: string | undefined,
): string {
  return double?.replaceAll(/\\(.)/gs, '$1') ?? single ?? escaped ?? '';
}

/** Pairs, or, as it was once written, `K V` to the end of the line. */
function envOf(value: string, line: string): string[] {
  const [, key, rest] = /^([^\s=]+)\s+(.+)$/s.exec(value) ?? [];
  if (key !== undefined) return [`${key}=${rest}`];
  return Object.entries(pairsOf(value, line)).map(([name, word]) => `${name}=${word}`);
}

function portsOf(value: string, line: string): Record<string, object> {
  return namesOf(value.split(/\s+/), (word) => {
    if (!/^\d{1,5}(\/(tcp|udp|sctp))?$/.test(word)) {
      throw new InvalidInputError(`cannot use --change '${line}': ${JSON.stringify(word)} is no port`, {
        hint: 'EXPOSE 80/tcp 53/udp',
      });
    }
    return word.includes('/') ? word : `${word}/tcp`;
  });
}

function volumesOf(value: string, line: string): Record<string, object> {
  return namesOf(arrayOf(value) ?? value.split(/\s+/), (path) => {
    if (path.startsWith('/')) return path;
    throw new InvalidInputError(`cannot use --change '${line}': ${JSON.stringify(path)} is no absolute path`);
  });
}

function namesOf(words: readonly string[], check: (word: string) => string): Record<string, object> {
  return Object.fromEntries(words.map((word) => [check(word), {}]));
}

function parseChange(line: string): Settings {
  const [, key = '', value = ''] = /^\s*(\w+)\s+(.*?)\s*$/s.exec(line) ?? [];
  switch (key.toUpperCase()) {
    case 'CMD':
      return { Cmd: commandWords(value) };
    case 'ENTRYPOINT':
      return { Entrypoint: commandWords(value) };
    case 'ENV':
      return { Env: envOf(value, line) };
    case 'EXPOSE':
      return { ExposedPorts: portsOf(value, line) };
    case 'LABEL':
      return { Labels: pairsOf(value, line) };
    case 'STOPSIGNAL':
      return { StopSignal: value };
    case 'USER':
      return { User: value };
    case 'VOLUME':
      return { Volumes: volumesOf(value, line) };
    case 'WORKDIR':
      return { WorkingDir: value };
    default:
      throw new InvalidInputError(`cannot use --change '${line}': not ${CHANGES}`);
  }
}

/** Later lines win; CMD and ENTRYPOINT may come in any order. Throws InvalidInputError. */
export function parseChanges(lines: readonly string[]): Settings {
  const changes = lines.map(parseChange);
  const cmd = changes.findLast(({ Cmd }) => Cmd != null);
  return { ...changes.reduce(mergeSettings, {}), ...(cmd === undefined ? {} : { Cmd: cmd.Cmd }) };
}
