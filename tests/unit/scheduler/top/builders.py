"""Reports as a scheduler would make them."""

from scaler_protocol.monitor_messages import Count, MonitorReport, WorkerFigures


def worker(name, **figures):
    fields = {
        "group_id": "",
        "host_cpu": 0.5,
        "host_rss": 1 << 20,
        "cpu": 0.0,
        "rss": 1 << 24,
        "free_memory": 1 << 33,
        "places": 1000,
        "outstanding": 0,
        "queued": 0,
        "suspended": 0,
        "lag_seconds": 0.0007,
        "silent_seconds": 0.1,
        "initialised": True,
        "has_task": False,
        "task_lock": False,
    }
    return WorkerFigures(worker_id=name, **(fields | figures))


def report(*workers, clients=(), sent=(), tasks=()):
    return MonitorReport(
        cpu=1.5,
        rss=1 << 25,
        free_memory=1 << 33,
        dropped=2,
        ready=17,
        functions=3,
        function_bytes=2048,
        objects=5,
        object_bytes=1 << 20,
        tasks=[Count(*item) for item in tasks],
        sent=[Count(*item) for item in sent],
        received=[],
        clients=[Count(*item) for item in clients],
        workers=list(workers),
    )
