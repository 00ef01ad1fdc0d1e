/** Commands outside of a plan: what a killed minict left of them is taken back by what container.json says. */
import { firstLine, HostError } from '../errors.ts';
import { commandArgv } from '../runner/batch.ts';
import { doInProcess } from '../runner/in-process.ts';
import { runTool, type SpawnContext } from '../runner/spawn.ts';
import type { Command } from '../step.ts';

/** Throws HostError, `cannot <what>: …`. */
export async function runCommands(what: string, commands: readonly Command[], context: SpawnContext): Promise<void> {
  for (const command of commands) {
    try {
      if (doInProcess(command)) continue;
    } catch (error) {
      throw new HostError(`cannot ${what}: ${(error as Error).message}`, { cause: error });
    }
    if (command.kind !== 'run') throw new Error(`no program: ${command.kind}`);
    const { exitCode, stderr } = await runTool(commandArgv(command), context);
    if (exitCode !== 0) throw new HostError(`cannot ${what}: ${firstLine(stderr)}`);
  }
}
