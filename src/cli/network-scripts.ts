/** What the verbs of networks have in common: how they begin, and their `--dry-run`. */

import type { Context } from '../lifecycle/context.ts';
import type { DryRunOptions, Scripts } from './dry-run.ts';
import type { VerbCommand } from './verb-command.ts';

export interface Begin {
  /** Of a verb that changes something; undefined where a script was asked for, and printed. */
  begin(
    verb: string,
    options?: DryRunOptions,
    names?: readonly string[],
    printed?: Scripts,
  ): Promise<{ context: Context; instance: string } | undefined>;
  /** Of one that changes nothing. */
  look(verb: string): Context;
}

/** Gives a verb, which has its arguments, its options and what it does. */
export type DefineNetworkVerb = (command: VerbCommand, begin: Begin) => void;

type Lines = typeof import('../lifecycle/dry-run-network.ts');

/** A verb whose two scripts dry-run-network.ts prints. */
export function scripts(
  does: string,
  undoes: string,
  run: (lines: Lines, context: Context, name: string) => Promise<string>,
  undo: (lines: Lines, context: Context, name: string) => Promise<string>,
  onFailure: Scripts['onFailure'] = 'stop',
): Scripts {
  const lines = () => import('../lifecycle/dry-run-network.ts');
  return {
    does,
    undoes,
    onFailure,
    run: async (_, context, name) => run(await lines(), context, name),
    undo: async (_, context, name) => undo(await lines(), context, name),
  };
}
