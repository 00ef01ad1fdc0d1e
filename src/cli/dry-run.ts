/** `--dry-run` and `--dry-run-undo`: a verb's plan, or its way back, as a shell script on stdout. */

import type { Context } from '../lifecycle/context.ts';
import { script } from '../plan/shell.ts';
import { parseContainerName } from '../spec/name.ts';
import type { ContainerOptions, Words } from './container-options.ts';
import { print } from './output.ts';
import type { VerbCommand } from './verb-command.ts';

export interface DryRunOptions {
  readonly dryRun?: boolean;
  readonly dryRunUndo?: boolean;
}

export function addDryRun(command: VerbCommand): VerbCommand {
  return command
    .option('--dry-run', 'print what it would do as a shell script, and change nothing')
    .option('--dry-run-undo', 'print the way back');
}

type Lines = typeof import('../lifecycle/dry-run.ts');

export interface Scripts {
  /** What the verb does, for the script's title. */
  readonly does: string;
  readonly run: (lines: Lines, context: Context, name: string) => Promise<string>;
  /** What takes down goes on where something is gone already, as the verb does. */
  readonly onFailure: 'stop' | 'go on';
  readonly undoes: string;
  readonly undo: (lines: Lines, context: Context, name: string) => Promise<string>;
}

/** Of create and run; `main` is what becomes of the main command, undefined for create. */
export function creation(
  options: ContainerOptions,
  command: Words,
  main: 'attached' | 'detached' | undefined,
): Scripts {
  const plan = (wanted: 'run' | 'undo') => async (_: Lines, context: Context, name: string) =>
    (await import('./dry-run-create.ts')).planScript(wanted, context, name, options, command, main);
  return {
    does: 'makes container',
    run: plan('run'),
    onFailure: 'stop',
    undoes: 'removes container',
    undo: plan('undo'),
  };
}

/** Prints the script where one was asked for; false where the verb is to be done. */
export async function dryRun(
  context: Context,
  { dryRun, dryRunUndo }: DryRunOptions,
  names: readonly string[],
  scripts: Scripts,
): Promise<boolean> {
  if (!dryRun && !dryRunUndo) return false;
  const lines = await import('../lifecycle/dry-run.ts');
  const { does, linesOf, onFailure } = dryRunUndo
    ? { does: scripts.undoes, linesOf: scripts.undo, onFailure: 'go on' as const }
    : { does: scripts.does, linesOf: scripts.run, onFailure: scripts.onFailure };
  let text = '';
  for (const name of names.map(parseContainerName)) text += await linesOf(lines, context, name);
  print(script(`${does} ${names.join(' ')}, as minict would`, onFailure, text));
  return true;
}
