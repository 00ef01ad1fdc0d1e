/** minict save-container */
import { InvalidInputError } from '../errors.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { reportNote } from './report.ts';
import type { Define } from './verbs.ts';

interface SaveFlags {
  readonly output?: string;
  readonly volumes?: boolean;
  readonly withoutImage?: boolean;
  readonly have?: string;
}

/** What does not come along as it is. */
function* notesOn({ name, inPlace, nics, volumes: mounted = [] }: ContainerSpec, volumes: boolean): Generator<string> {
  for (const nic of nics) {
    if (nic.kind === 'phys') yield `the network card ${nic.device}, ${nic.name} inside, stays here`;
  }
  if (inPlace !== undefined) {
    yield `the files of ${name} are in ${inPlace} itself: where it is loaded, they are under a layer of its own`;
  }
  for (const volume of mounted) {
    if (volume.type === 'bind')
      yield `${volume.source}, at ${volume.target}, stays here: load-container --binds has that host's`;
    else if (volume.type === 'volume' && volume.name !== undefined && !volumes) {
      yield `the files of volume ${volume.name}, at ${volume.target}, stay here: --volumes takes them along`;
    }
  }
}

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .option('-o, --output <file>', 'in place of standard output')
    .option('--volumes', 'with the files of its named volumes; those of its own always come along')
    .option('--without-image', 'the other side has its image')
    .option('--have <file>', 'leave out what the other side has: what its load-container --list-have printed')
    .action(async (rawName: string, { output, volumes = false, withoutImage = false, have }: SaveFlags) => {
      requireRoot('save-container');
      const context = contextFrom(globals());
      const name = parseContainerName(rawName);
      if (output === undefined && isTerminal(1)) {
        throw new InvalidInputError(`cannot save ${name}: standard output is a terminal`, { hint: '-o FILE' });
      }
      const instance = ensureState(context.roots);
      const { saveContainer } = await import('../lifecycle/save-container.ts');
      const { readDigests } = await import('../lifecycle/shared-digests.ts');
      const isThere = have === undefined ? () => false : readDigests(have);
      const save = (fd: number) => saveContainer(context, instance, name, fd, { volumes, withoutImage, isThere });
      const saved =
        output === undefined
          ? await save(1)
          : await (await import('../image/new-file.ts')).writeNewFile(output, `save ${name}`, save);
      for (const note of notesOn(saved, volumes)) reportNote(note);
    });
};
