/** What a killed `link` or `link rm` left at one end is finished or taken back by the next verb that changes a container of it. */
import { MinictError } from '../errors.ts';
import { takeUnfinished } from '../state/cables.ts';
import type { Context } from './context.ts';

/** Those of all containers. Returns the cables' names. Throws what keeps one from being settled. */
export async function settleAllCables(context: Context, instance: string): Promise<string[]> {
  return settle(context, instance, takeUnfinished(context.roots));
}

/** Those of one container, whose lock the caller does not hold. One that cannot be settled now is the next verb's. */
export async function settleCables(context: Context, instance: string, name: string): Promise<void> {
  try {
    await settle(context, instance, takeUnfinished(context.roots, name));
  } catch (error) {
    if (!(error instanceof MinictError)) throw error;
  }
}

async function settle(context: Context, instance: string, left: ReturnType<typeof takeUnfinished>): Promise<string[]> {
  try {
    for (const work of left) {
      const { settleCable } = await import('./settle-cable.ts');
      await settleCable(context, instance, work);
      work.end();
    }
    return left.map(({ cable }) => cable);
  } finally {
    for (const work of left) work.release();
  }
}
