// Looks for a plan that goes wrong: node hunt.js RUNS SEED. Leaves with 1 when it finds one.
import fc from 'fast-check';
import { plan } from './plan.ts';
import { play } from './world.ts';

const [runs, seed] = process.argv.slice(2).map(Number);
for (const p of fc.sample(plan, { numRuns: runs!, seed: seed! }))
  try {
    play(p);
  } catch (e: any) {
    console.log(String(e.message).split('\n')[0]);
    process.exit(1);
  }
