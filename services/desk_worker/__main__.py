from services.desk_worker.app import SERVICE, main
from services.desk_worker.settings import Settings
from shared import runtime

if __name__ == "__main__":
    runtime.run(SERVICE, Settings.load, main)
