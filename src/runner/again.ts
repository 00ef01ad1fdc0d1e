/** Steps that are in effect, done once more: where something of them was taken away. */
import { firstLine, HostError } from '../errors.ts';
import type { Step } from '../step.ts';
import { failingStep, nextBatch } from './batch.ts';
import { runTool, type SpawnContext } from './spawn.ts';

/** In order; who fails here undoes nothing, and the journal stays as it is. Throws HostError. */
export async function doAgain(what: string, steps: readonly Step[], context: SpawnContext): Promise<void> {
  for (let pending = steps; pending.length > 0; ) {
    const { batch, rest } = nextBatch(pending);
    const { exitCode, stderr } = await runTool(batch.argv, context, batch.stdin);
    if (exitCode !== 0) throw new HostError(`cannot ${what}: ${failingStep(batch, stderr).why}: ${firstLine(stderr)}`);
    pending = rest;
  }
}
