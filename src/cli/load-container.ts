/** minict load-container */
import { closeSync, openSync } from 'node:fs';
import { InvalidInputError } from '../errors.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { statUserPath } from '../host/user-path.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { print } from './output.ts';
import { reportNote } from './report.ts';
import type { Define } from './verbs.ts';

interface LoadFlags {
  readonly input?: string;
  readonly name?: string;
  readonly ip?: string;
  readonly binds?: boolean;
  readonly start?: boolean;
  readonly listHave?: boolean;
}

export const define: Define = (command, globals) => {
  command
    .option('-i, --input <file>', 'in place of standard input')
    .option('--name <name>', 'another name', parseContainerName)
    .option('--ip <address>', 'another address (default: its own where that is free here, or the next free one)')
    .option('--binds', 'it may have the directories of this host that it mounts')
    .option('--start', 'start it, too')
    .option('--list-have', 'only print the digests of what is here, for save-container --have')
    .action(async ({ input, name, ip, binds = false, start, listHave }: LoadFlags) => {
      requireRoot('load-container');
      const context = contextFrom(globals());
      const instance = ensureState(context.roots);
      if (listHave) {
        const { digestsHere } = await import('../lifecycle/shared-digests.ts');
        print(
          digestsHere(context.roots)
            .map((digest) => `${digest}\n`)
            .join(''),
        );
        return;
      }
      const { loadContainer } = await import('../lifecycle/load-container.ts');
      const { piecesOf, plainPiecesOf } = await import('../image/unpack.ts');
      if (input !== undefined) statUserPath(input, `load ${input}`);
      else if (isTerminal(0)) {
        throw new InvalidInputError('cannot load: standard input is a terminal', { hint: '-i FILE' });
      }
      const fd = input === undefined ? 0 : openSync(input, 'r');
      try {
        const what = input ?? 'standard input';
        const pieces = plainPiecesOf(piecesOf(fd), `load ${what}`);
        const loaded = await loadContainer(context, instance, pieces, what, { name, ip, binds });
        print(`${loaded.name}\n`);
        for (const note of loaded.notes) reportNote(note);
        if (start) await (await import('../lifecycle/start.ts')).startContainer(context, instance, loaded.name);
      } finally {
        if (input !== undefined) closeSync(fd);
      }
    });
};
