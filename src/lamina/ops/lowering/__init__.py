"""The fast form of an operation: functions of arrays that layers and public ops share."""
