// Four tasks: one that answers, one that fails at first, a long one, and one that pauses.
import { NonRetryableError, Pause, RetryAfter, Worker } from "./worker.mjs";

const worker = new Worker({
  url: process.env.DAGNATS_URL ?? "http://127.0.0.1:8080",
  token: process.env.DAGNATS_BRIDGE_TOKEN ?? "",
});

worker.task("node.echo", (input) => ({ got: input }));

worker.task("node.fail", (input, task) => {
  if (input?.permanent) throw new NonRetryableError("no use");
  if (task.attempt < 2) throw new RetryAfter(100, "not yet");
  return { attempts: task.attempt };
});

worker.task("node.long", async (input, task) => {
  const until = Date.now() + (input?.ms ?? 3000);
  while (Date.now() < until && !task.signal.aborted) await new Promise((r) => setTimeout(r, 50));
  return { slept: !task.signal.aborted };
});

worker.task("node.pause", (_, task) =>
  task.checkpoint ? { resumed: task.checkpoint } : new Pause(100, { page: 2 }),
);

for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => worker.stop());
await worker.run();
