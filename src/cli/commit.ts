/** minict commit */
import { InvalidInputError } from '../errors.ts';
import type { Image } from '../image/store.ts';
import { commitContainer } from '../lifecycle/commit.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { print } from './output.ts';
import type { Define } from './verbs.ts';

interface CommitFlags {
  readonly change: readonly string[];
  readonly message?: string;
  readonly pause: boolean;
}

/** `["a", "b"]` as it stands, anything else through a shell, as a Dockerfile has it. */
function commandWords(value: string): string[] {
  if (!value.startsWith('[')) return value === '' ? [] : ['/bin/sh', '-c', value];
  try {
    const words: unknown = JSON.parse(value);
    if (Array.isArray(words) && words.every((word) => typeof word === 'string')) return words;
  } catch {
    // Said below.
  }
  throw new InvalidInputError(`cannot use --change '${value}': not an array of strings in JSON`);
}

/** `CMD ["nginx"]`, `USER web`, …: the lines of a Dockerfile that set something. */
function parseChange(line: string): Image['settings'] {
  const [, key = '', value = ''] = /^\s*(\w+)\s+(.*)$/s.exec(line) ?? [];
  switch (key.toUpperCase()) {
    case 'CMD':
      return { Cmd: commandWords(value) };
    case 'ENTRYPOINT':
      return { Entrypoint: commandWords(value) };
    case 'USER':
      return { User: value };
    case 'WORKDIR':
      return { WorkingDir: value };
    case 'STOPSIGNAL':
      return { StopSignal: value };
    default:
      throw new InvalidInputError(`cannot use --change '${line}': not CMD, ENTRYPOINT, USER, WORKDIR or STOPSIGNAL`);
  }
}

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .argument('<image>')
    .repeatable(
      '-c, --change <line>',
      'setting of the image, as a Dockerfile has it: CMD, ENTRYPOINT, USER, WORKDIR, STOPSIGNAL',
    )
    .option('-m, --message <text>', "for the image's history")
    .option('--no-pause', 'let its processes go on meanwhile')
    .action(async (rawName: string, image: string, { change, message, pause }: CommitFlags) => {
      requireRoot('commit');
      const context = contextFrom(globals());
      const settings: Image['settings'] = Object.assign({}, ...change.map(parseChange));
      const name = parseContainerName(rawName);
      const options = { pause, message, settings };
      print(`${await commitContainer(context, ensureState(context.roots), name, image, options)}\n`);
    });
};
