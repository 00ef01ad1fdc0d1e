/** `--dry-run` of the verbs of networks. */
import type { Context } from '../lifecycle/context.ts';
import type { DryRunOptions, Scripts } from './dry-run.ts';

/** How each verb begins; undefined where a script was asked for, and printed. */
export type Begin = (
  verb: string,
  options?: DryRunOptions,
  names?: readonly string[],
  printed?: Scripts,
) => Promise<{ context: Context; instance: string } | undefined>;

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
