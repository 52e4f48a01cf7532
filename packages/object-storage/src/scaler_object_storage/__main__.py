"""The command `scaler_object_storage_server`."""

from scaler_runtime.early_signals import end_when_asked


def main() -> None:
    """Run the command."""
    end_when_asked()
    from scaler_object_storage.config import ObjectStorageConfig
    from scaler_runtime.command import run_command

    def start(config: ObjectStorageConfig) -> int:
        from scaler_object_storage.server import run

        return run(config)

    run_command("scaler_object_storage_server", "object_storage_server", ObjectStorageConfig, start)


if __name__ == "__main__":
    main()
