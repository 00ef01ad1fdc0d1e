/** Whether a network namespace has a default route. */
import type { Family } from '../../spec/address.ts';
import { type Inside, readJsonInside } from './run.ts';

export async function hasDefaultRoute(inside: Inside, family: Family): Promise<boolean> {
  const routes = await readJsonInside(inside, ['ip', '-j', `-${family}`, 'route', 'show', 'default']);
  return Array.isArray(routes) && routes.length > 0;
}
