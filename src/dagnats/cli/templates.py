"""What ``dagnats init`` writes into a new project's worker."""

from __future__ import annotations

PYTHON_MAIN = '''\
"""Worker of {name}: run it with `python main.py`."""

from dagnats import Worker

worker = Worker()


@worker.task("process")
def process(input):
    """Do the work of the step `process`; what it returns is the output of the step."""
    return {"processed": input}


if __name__ == "__main__":
    worker.run()
'''

PYTHON_SNIPPET = """\
  @worker.task("{task}")
  def {function}(input):
      return input"""

GO_MAIN = """\
package main

import (
	"context"
	"log"
	"os"
	"os/signal"

	"github.com/danmestas/dagnats/worker"
	"github.com/nats-io/nats.go"
)

// Worker of {name}.
func main() {
	url := os.Getenv("DAGNATS_NATS_URL")
	if url == "" {
		url = nats.DefaultURL
	}
	nc, err := nats.Connect(url)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	w := worker.NewWorker(nc)
	w.Handle("process", func(ctx worker.TaskContext) error {
		return ctx.Complete(ctx.Input())
	})
	w.Start()
	defer w.Stop()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	<-ctx.Done()
}
"""

GO_SNIPPET = """\
  w.Handle("{task}", func(ctx worker.TaskContext) error {
      input := ctx.Input()
      // TODO: implement {step} logic
      return ctx.Complete(input)
  })"""
