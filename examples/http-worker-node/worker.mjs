// A dagnats worker for Node 18 or newer, without dependencies. Import it, or copy it.
//
//   import { Worker } from "./worker.mjs";
//   const worker = new Worker({ url: "http://127.0.0.1:8080", token: process.env.DAGNATS_BRIDGE_TOKEN });
//   worker.task("img.resize", async (input, task) => ({ width: input.width / 2 }));
//   await worker.run();
//
// A handler's value is the step's output, what it throws fails the attempt. Its second argument has
// the task's ids, `signal` (an AbortSignal: the run was cancelled), `checkpoint` (what an earlier
// attempt saved), and save(), stream(), sendSignal() and waitSignal().

/** Throw it when trying again cannot help. */
export class NonRetryableError extends Error {}

/** Throw it to be tried again after so many milliseconds. */
export class RetryAfter extends Error {
  constructor(ms, message = `retry after ${ms} ms`) {
    super(message);
    this.ms = ms;
  }
}

/** Return it to be given the same task again after so many milliseconds. */
export class Pause {
  constructor(ms, checkpoint) {
    this.ms = ms;
    this.checkpoint = checkpoint;
  }
}

/** Return it from the handler of a loop step to go on with this input. */
export class Continue {
  constructor(output) {
    this.output = output;
  }
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** The server says no, and will say so again. */
class Refused extends Error {
  constructor(status, text) {
    super(`${status}: ${text}`);
    this.status = status;
  }
}

export class Worker {
  #handlers = new Map();
  #running = new Set();
  #stopping = new AbortController();

  /** @param options url, token, id, concurrency (tasks at once), log */
  constructor({ url = "http://127.0.0.1:8080", token = "", id, concurrency = 8, log } = {}) {
    this.url = url.replace(/\/$/, "");
    this.token = token;
    this.id = id ?? `node-${process.pid}-${Math.random().toString(16).slice(2, 10)}`;
    this.concurrency = concurrency;
    this.log = log ?? ((...words) => console.error(...words));
  }

  /** Register the handler of a task type. */
  task(type, handler) {
    this.#handlers.set(type, handler);
    return this;
  }

  /** Work until stop() is called and what is running has ended. */
  async run() {
    const listed = this.#beListed();
    while (!this.#stopping.signal.aborted) {
      const room = this.concurrency - this.#running.size;
      if (room > 0) await this.#poll(room);
      else await Promise.race(this.#running);
    }
    await Promise.all(this.#running);
    await listed;
  }

  /** Take no more tasks. */
  stop() {
    this.#stopping.abort();
  }

  async #poll(room) {
    const body = {
      task_types: [...this.#handlers.keys()],
      max_tasks: room,
      timeout_ms: 5000,
      worker_id: this.id,
    };
    try {
      const answer = await this.#post("/v1/tasks/poll", body, this.#stopping.signal);
      for (const task of await answer.json()) this.#begin(task);
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      if (error instanceof Refused && error.status === 401) throw error;
      this.log(`poll: ${error.message}`);
      await sleep(300);
    }
  }

  #begin(task) {
    const work = this.#work(task).catch((error) => this.log(`${task.task_id}: ${error.message}`));
    this.#running.add(work);
    work.finally(() => this.#running.delete(work));
  }

  async #work(task) {
    const cancelled = new AbortController();
    const pulse = setInterval(
      () => this.#beat(task, cancelled),
      Math.max(100, (task.heartbeat_ms ?? 60000) / 2),
    );
    let said;
    try {
      const handler = this.#handlers.get(task.task_type) ?? [...this.#handlers.values()][0];
      said = outcome(await handler(task.input, this.#context(task, cancelled.signal)));
    } catch (error) {
      said = failure(error);
    } finally {
      clearInterval(pulse);
    }
    await this.#say(task, said);
  }

  async #beat(task, cancelled) {
    try {
      const answer = await this.#post(path(task), { action: "heartbeat" });
      const text = await answer.text();
      if (text && JSON.parse(text).cancelled) cancelled.abort();
    } catch (error) {
      this.log(`heartbeat: ${error.message}`); // The next one may get through.
    }
  }

  #context(task, signal) {
    return {
      ...task,
      signal,
      save: (data) => this.#say(task, { action: "checkpoint", data }),
      stream: (data) => this.#say(task, { action: "stream", data }),
      sendSignal: (run_id, name, data = null) =>
        this.#say(task, { action: "send_signal", run_id, name, data }),
      waitSignal: async (name, timeout_ms) => {
        const answer = await this.#post(path(task), { action: "wait_signal", name, timeout_ms });
        return answer.json();
      },
    };
  }

  /** Says it for as long as it takes: the work is done, and the server may only be restarting. */
  async #say(task, said) {
    for (let delay = 100; ; delay = Math.min(delay * 2, 5000)) {
      try {
        return await this.#post(path(task), said);
      } catch (error) {
        if (error instanceof Refused && ![429, 503].includes(error.status)) throw error;
        this.log(`resolve: ${error.message}`);
        await sleep(delay);
      }
    }
  }

  async #post(where, body, signal) {
    const headers = { "Content-Type": "application/json" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const request = { method: "POST", headers, body: JSON.stringify(body), signal };
    const answer = await fetch(this.url + where, request);
    if (!answer.ok) throw new Refused(answer.status, (await answer.text()).slice(0, 300));
    return answer;
  }

  /** Stays in the server's directory of workers for as long as it runs. */
  async #beListed() {
    const body = {
      worker_id: this.id,
      task_types: [...this.#handlers.keys()],
      max_tasks: this.concurrency,
    };
    while (!this.#stopping.signal.aborted) {
      try {
        const answer = await this.#post("/v1/workers/connect", body, this.#stopping.signal);
        for await (const _ of answer.body) continue;
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
      }
      await sleep(1000);
    }
  }
}

const path = (task) => `/v1/tasks/${encodeURIComponent(task.task_id)}/resolve`;

function outcome(value) {
  if (value instanceof Pause) {
    return { action: "pause", duration_ms: value.ms, checkpoint: value.checkpoint };
  }
  if (value instanceof Continue) return { action: "continue", output: value.output };
  return { action: "complete", output: value };
}

function failure(error) {
  const said = { action: "fail", error: String(error?.message ?? error) };
  if (error instanceof NonRetryableError) said.failure_type = "non_retriable";
  if (error instanceof RetryAfter) {
    said.failure_type = "retry_after";
    said.retry_after_ms = error.ms;
  }
  return said;
}
