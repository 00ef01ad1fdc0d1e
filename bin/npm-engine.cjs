/**
 * Loaded into npm: it leaves out optional packages whose `engines` do not name the Node that npm itself runs on, and
 * Vitest needs one of them (rolldown's native part). They run on Bun here, never on that Node.
 */
Object.defineProperty(process, 'version', { value: 'v24.0.0' });
